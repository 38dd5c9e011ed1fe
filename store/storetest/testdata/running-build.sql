PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE goose_db_version (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		version_id INTEGER NOT NULL,
		is_applied INTEGER NOT NULL,
		tstamp TIMESTAMP DEFAULT (datetime('now'))
	);
INSERT INTO goose_db_version VALUES(1,0,1,'2026-11-28 21:47:30');
INSERT INTO goose_db_version VALUES(2,1,1,'2026-11-28 21:47:30');
INSERT INTO goose_db_version VALUES(3,2,1,'2026-11-28 21:47:30');
INSERT INTO goose_db_version VALUES(4,3,1,'2026-11-28 21:47:30');
INSERT INTO goose_db_version VALUES(5,4,1,'2026-11-28 21:47:30');
INSERT INTO goose_db_version VALUES(6,5,1,'2026-11-28 21:47:30');
INSERT INTO goose_db_version VALUES(7,6,1,'2026-11-28 21:47:30');
INSERT INTO goose_db_version VALUES(8,7,1,'2026-11-28 21:47:30');
INSERT INTO goose_db_version VALUES(9,8,1,'2026-11-28 21:47:30');
CREATE TABLE deployment (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    id   TEXT NOT NULL,
    key  BLOB NOT NULL
, place TEXT NOT NULL DEFAULT '', host TEXT NOT NULL DEFAULT '', taken_at BIGINT NOT NULL DEFAULT 0);
INSERT INTO deployment VALUES(1,'qvlfed5oo6qa',X'1dd7690bd925e777656a4e5927fcb66356eca084d397bd03d903722b67f4657e','{"disk":"overlayblk","file":"11019482 of 1795902450.702756065"}','vm',1795902450775187);
CREATE TABLE lease (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    fence       BIGINT NOT NULL,
    owner       TEXT NOT NULL,
    expires_at  BIGINT NOT NULL
);
INSERT INTO lease VALUES(1,1,'vm HNSNVDRUELQTWBLD3PFE4SSPEW 11019481',1795902480775187);
CREATE TABLE requests (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    builder         TEXT NOT NULL,
    priority        BIGINT NOT NULL,
    reason          TEXT NOT NULL,
    sources         TEXT NOT NULL,
    properties      TEXT NOT NULL,
    submitted_at    BIGINT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('pending', 'claimed', 'complete')),
    build_id        BIGINT NOT NULL DEFAULT 0,
    collapsed_into  BIGINT NOT NULL DEFAULT 0,
    result          INTEGER,
    complete_at     BIGINT NOT NULL DEFAULT 0, interrupted INTEGER NOT NULL DEFAULT 0, parent_build BIGINT NOT NULL DEFAULT 0, submit_key TEXT NOT NULL DEFAULT '', lost BIGINT NOT NULL DEFAULT 0, not_before BIGINT NOT NULL DEFAULT 0,
    CHECK ((state = 'complete') = (result IS NOT NULL))
);
INSERT INTO requests VALUES(1,'b',0,'the first','[{}]','{"reason":{"value":"the first","source":"Force Build Form"},"scheduler":{"value":"force","source":"Scheduler"}}',1795902455750479,'complete',1,0,0,1795902455829185,0,0,'once.TTQDV6ECYX2QTDCQBI63NRW7M4',0,0);
INSERT INTO requests VALUES(2,'b',0,'the second','[{}]','{"reason":{"value":"the second","source":"Force Build Form"},"scheduler":{"value":"force","source":"Scheduler"}}',1795902455923144,'claimed',2,0,NULL,0,0,0,'once.F4BEL4KVGFMUQAXR5EZPWCEL7N',0,0);
INSERT INTO requests VALUES(3,'b',0,'the third','[{}]','{"reason":{"value":"the third","source":"Force Build Form"},"scheduler":{"value":"force","source":"Scheduler"}}',1795902458070323,'pending',0,0,NULL,0,0,0,'once.YU4IWYRBC2JYHBS3AKBILGO5UW',0,0);
INSERT INTO requests VALUES(4,'b',0,'the fourth','[{}]','{"reason":{"value":"the fourth","source":"Force Build Form"},"scheduler":{"value":"force","source":"Scheduler"}}',1795902458142529,'complete',0,0,6,1795902458153851,0,0,'once.NRLL4BT7KJCNVUWMUZPL4OL5DR',0,0);
CREATE TABLE builders (
    name         TEXT PRIMARY KEY,
    last_number  BIGINT NOT NULL
);
INSERT INTO builders VALUES('b',2);
CREATE TABLE builds (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    builder       TEXT NOT NULL,
    number        BIGINT NOT NULL,
    request_id    BIGINT NOT NULL REFERENCES requests (id),
    worker        TEXT NOT NULL,
    generation    BIGINT NOT NULL,
    instance_id   TEXT NOT NULL,
    started_at    BIGINT NOT NULL,
    finished_at   BIGINT NOT NULL DEFAULT 0,
    result        INTEGER,
    state_string  TEXT NOT NULL DEFAULT '', plan TEXT NOT NULL DEFAULT '', session TEXT NOT NULL DEFAULT '', stop_reason TEXT NOT NULL DEFAULT '', try BIGINT NOT NULL DEFAULT 1,
    UNIQUE (builder, number),
    CHECK ((finished_at = 0) = (result IS NULL))
);
INSERT INTO builds VALUES(1,'b',1,1,'bot',0,'',1795902455751613,1795902455829185,0,'build successful','c76b8d0337fbbe450761b642b64b8096','SX52MYGOT5R572NYRQS7TMIGT5','',1);
INSERT INTO builds VALUES(2,'b',2,2,'bot',0,'',1795902455924270,0,NULL,'','c76b8d0337fbbe450761b642b64b8096','SX52MYGOT5R572NYRQS7TMIGT5','',1);
CREATE TABLE build_properties (
    build_id  BIGINT NOT NULL REFERENCES builds (id),
    name      TEXT NOT NULL,
    value     TEXT NOT NULL,
    source    TEXT NOT NULL,
    PRIMARY KEY (build_id, name)
);
INSERT INTO build_properties VALUES(1,'artifactsdir','"/tmp/ci/m/artifacts/b/1"','Build');
INSERT INTO build_properties VALUES(1,'basedir','"/tmp/ci/w"','Worker');
INSERT INTO build_properties VALUES(1,'branch','null','Build');
INSERT INTO build_properties VALUES(1,'builddir','"/tmp/ci/w/b"','Worker');
INSERT INTO build_properties VALUES(1,'builderid','1728851429','Builder');
INSERT INTO build_properties VALUES(1,'buildername','"b"','Builder');
INSERT INTO build_properties VALUES(1,'buildnumber','1','Build');
INSERT INTO build_properties VALUES(1,'codebase','""','Build');
INSERT INTO build_properties VALUES(1,'project','""','Build');
INSERT INTO build_properties VALUES(1,'reason','"the first"','Force Build Form');
INSERT INTO build_properties VALUES(1,'repository','""','Build');
INSERT INTO build_properties VALUES(1,'revision','null','Build');
INSERT INTO build_properties VALUES(1,'scheduler','"force"','Scheduler');
INSERT INTO build_properties VALUES(1,'workername','"bot"','Worker');
INSERT INTO build_properties VALUES(1,'colour','"blue"','SetProperty');
INSERT INTO build_properties VALUES(2,'artifactsdir','"/tmp/ci/m/artifacts/b/2"','Build');
INSERT INTO build_properties VALUES(2,'basedir','"/tmp/ci/w"','Worker');
INSERT INTO build_properties VALUES(2,'branch','null','Build');
INSERT INTO build_properties VALUES(2,'builddir','"/tmp/ci/w/b"','Worker');
INSERT INTO build_properties VALUES(2,'builderid','1728851429','Builder');
INSERT INTO build_properties VALUES(2,'buildername','"b"','Builder');
INSERT INTO build_properties VALUES(2,'buildnumber','2','Build');
INSERT INTO build_properties VALUES(2,'codebase','""','Build');
INSERT INTO build_properties VALUES(2,'project','""','Build');
INSERT INTO build_properties VALUES(2,'reason','"the second"','Force Build Form');
INSERT INTO build_properties VALUES(2,'repository','""','Build');
INSERT INTO build_properties VALUES(2,'revision','null','Build');
INSERT INTO build_properties VALUES(2,'scheduler','"force"','Scheduler');
INSERT INTO build_properties VALUES(2,'workername','"bot"','Worker');
INSERT INTO build_properties VALUES(2,'colour','"blue"','SetProperty');
CREATE TABLE steps (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    build_id      BIGINT NOT NULL REFERENCES builds (id),
    position      BIGINT NOT NULL,
    name          TEXT NOT NULL,
    started_at    BIGINT NOT NULL,
    finished_at   BIGINT NOT NULL DEFAULT 0,
    result        INTEGER,
    state_string  TEXT NOT NULL,
    hidden        INTEGER NOT NULL, progress TEXT NOT NULL DEFAULT '',
    UNIQUE (build_id, position),
    CHECK ((finished_at = 0) = (result IS NULL))
);
INSERT INTO steps VALUES(1,1,0,'SetProperty',1795902455760156,1795902455760913,0,'Set',0,'');
INSERT INTO steps VALUES(2,1,1,'compile',1795902455761145,1795902455790688,0,'''/bin/sh -c ...''',0,'');
INSERT INTO steps VALUES(3,1,2,'test',1795902455791086,1795902455822989,0,'''/bin/sh -c ...''',0,'');
INSERT INTO steps VALUES(4,2,0,'SetProperty',1795902455925389,1795902455926609,0,'Set',0,'');
INSERT INTO steps VALUES(5,2,1,'compile',1795902455926872,1795902455944855,0,'''/bin/sh -c ...''',0,'');
INSERT INTO steps VALUES(6,2,2,'test',1795902455945109,0,NULL,'running',0,'{"effects":[{"command":"2.2.0","position":10}]}');
CREATE TABLE logs (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    step_id   BIGINT NOT NULL REFERENCES steps (id),
    name      TEXT NOT NULL,
    type      TEXT NOT NULL,
    lines     BIGINT NOT NULL DEFAULT 0,
    bytes     BIGINT NOT NULL DEFAULT 0,
    complete  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (step_id, name)
);
INSERT INTO logs VALUES(1,2,'stdio','s',13,289,1);
INSERT INTO logs VALUES(2,3,'stdio','s',13,382,1);
INSERT INTO logs VALUES(3,5,'stdio','s',13,289,1);
INSERT INTO logs VALUES(4,6,'stdio','s',10,322,0);
CREATE TABLE log_chunks (
    log_id      BIGINT NOT NULL REFERENCES logs (id),
    first_line  BIGINT NOT NULL,
    lines       BIGINT NOT NULL,
    first_byte  BIGINT NOT NULL,
    bytes       BIGINT NOT NULL,
    data        BLOB NOT NULL,
    PRIMARY KEY (log_id, first_line)
);
INSERT INTO log_chunks VALUES(1,0,13,0,289,X'28b52ffd644000bd0700e2d038308039090c30c00494411a60aa002d894c82774a22feeffd65426b404749410dc2702c42e1cab6a48de34ac21894ff0952ea221104e70adcb35453a69598e8b201acee3bc5f7d9167b9e7d7d5a960dbb722aaa2cb1c208b0c66bb2a80b2340d49597a872678202dd025b5a67ac0b12d0cf58614bcd812db54a5aed995024d0cf58159e060889c3cf581f868788c9cf589d099782b1ea0cdc33d68aa6f9a37990e68fa6a1b893b154d1192b817c2befdc81c1a71597ea39f0e9d296d4a476b57e0d43cdf6aaa7c33e6375c46b3ef2db272c8c8ffcd6f10739cb065b6aac9171b181c101050025b381aa92c21c591ec3b7e865e10cb8e55384');
INSERT INTO log_chunks VALUES(2,0,13,0,382,X'28b52ffd649d00cd0800e213413360419b00fffc677e9bffde7efbedeb61a29b4cc96526a5b8eff5ddcfc2968586d1b5a015823758d99649ac68d772205fc979292e12398040f880cf5e5d99966290b50c76f03b49e9b529f65cfbf26999766cea17342b39b10276339354936e777215906ea905516f222a9457b169f6c62e0182f23776b1a3d7c48edea4d97b261509e56fec109e050709c3dfd83d0a0d0f93bfb16b6adc2bcad996b86fec2618e60d4672306f308cc41b4b35a137760c2a2d3d840690d74ceed595e093d559f4a277792d3decaaefb3a7c77e63b79899a42e59da3b1be57407f280c7762d7a39ddd90a555fc7075ee9d6afd57cb9b33bb95eb2b48b4b8e337db1a3c70100540c10c001050052b381aa9202c8b24c88c9fe5864460aa6d4aec6');
INSERT INTO log_chunks VALUES(3,0,13,0,289,X'28b52ffd644000cd0700e250393250519b00f0fffff52ccff33c7f8172286467012d93b9eeadbd640c31ee360b1c3c4c29430245db64bc4cb0e31f58fd462b05ea1618149c3b70cf524d995662a2cb0eb0baef14df676bec79f6f5695936eccaa9a8b2c40a43c01aaf191075611488baf21255ee5c50a05b604beb8cf5c102fa192b6ca939b0a55649ab3d138a04fa19abc313412191f819eb03315131f919ab33e15230569d817bc69ad13487342fd21cd234187732962a3a6335906fe59d4b40f8b4e2523d0b3e5dda929ad4aed6af61a8d95ef574d867ac8f78cd477efb8685f191df3efe2267d9604b8d0174706c04e0050025b381aa92c21c591ec3b7e865e10c21506e5c');
INSERT INTO log_chunks VALUES(4,0,9,0,316,X'28b52ffd645300fd0600428f322b60691b00a9f8eb77526b7fda48a44dc4b3feb7fd8aaba840114660d2a3728477d5dec4159c4042c55f38326c291545de3840a04fb169f5c5cca001fa17b3d8cf35b19f9bb472cf03e280fec5ace041587024fc8bd973a0c0f0f817b3a6c69544399b12f78b19446b6734b8b4335a7b78439966f4c54c80c2a5671882c66b2557d235e012d5d573cf555c43379154f7d9d2637f315bcc4a462e19ee9d8d52bad318603ed9a5e8a574676b347d9703bcd2ad5faab972677772bd64b88bc3e54c5dece7b8824222628203050052b381aa9202c8b24c88c9fe5864460ac337c296');
INSERT INTO log_chunks VALUES(4,9,1,316,6,X'28b52ffd240d6900006f948286c2c46874687265650a205e1ae4');
CREATE TABLE workers (
    name        TEXT PRIMARY KEY,
    state       TEXT NOT NULL,
    generation  BIGINT NOT NULL,
    paused      INTEGER NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE TABLE generations (
    worker       TEXT NOT NULL,
    number       BIGINT NOT NULL,
    account      TEXT NOT NULL,
    region       TEXT NOT NULL,
    opened_at    BIGINT NOT NULL,
    attached_at  BIGINT NOT NULL,
    closed_at    BIGINT NOT NULL,
    reason       TEXT NOT NULL, secret TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (worker, number)
);
CREATE TABLE launches (
    token    TEXT PRIMARY KEY,
    id       TEXT NOT NULL,
    request  BLOB NOT NULL
);
CREATE TABLE attempts (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    worker         TEXT NOT NULL,
    generation     BIGINT NOT NULL,
    number         BIGINT NOT NULL,
    account        TEXT NOT NULL,
    region         TEXT NOT NULL,
    instance_type  TEXT NOT NULL,
    zone           TEXT NOT NULL,
    subnet         TEXT NOT NULL,
    market         TEXT NOT NULL,
    token          TEXT NOT NULL REFERENCES launches (token),
    state          TEXT NOT NULL CHECK (state IN ('open', 'accepted', 'refused')),
    opened_at      BIGINT NOT NULL,
    settled_at     BIGINT NOT NULL DEFAULT 0,
    error_code     TEXT NOT NULL DEFAULT '',
    error          TEXT NOT NULL DEFAULT '',
    console        TEXT NOT NULL DEFAULT '',
    UNIQUE (worker, generation, number),
    FOREIGN KEY (worker, generation) REFERENCES generations (worker, number)
);
CREATE TABLE instances (
    id              TEXT PRIMARY KEY,
    account         TEXT NOT NULL,
    region          TEXT NOT NULL,
    worker          TEXT NOT NULL,
    generation      BIGINT NOT NULL,
    attempt_id      BIGINT NOT NULL,
    launch          TEXT NOT NULL,
    instance_type   TEXT NOT NULL,
    zone            TEXT NOT NULL,
    market          TEXT NOT NULL,
    image_id        TEXT NOT NULL,
    state           TEXT NOT NULL,
    state_reason    TEXT NOT NULL,
    launched_at     BIGINT NOT NULL,
    running_at      BIGINT NOT NULL,
    attached_at     BIGINT NOT NULL,
    stopping_at     BIGINT NOT NULL,
    ended_at        BIGINT NOT NULL,
    price_per_hour  DOUBLE PRECISION,
    price_source    TEXT NOT NULL
);
CREATE TABLE mails (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id  TEXT NOT NULL UNIQUE,
    server      TEXT NOT NULL,
    sender      TEXT NOT NULL,
    recipients  TEXT NOT NULL,
    subject     TEXT NOT NULL,
    body        TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    attempts    BIGINT NOT NULL,
    next_at     BIGINT NOT NULL
);
CREATE TABLE artifacts (
    build_id    BIGINT NOT NULL REFERENCES builds (id),
    path        TEXT NOT NULL,
    step_id     BIGINT NOT NULL REFERENCES steps (id),
    bytes       BIGINT NOT NULL,
    sha256      TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (build_id, path)
);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('goose_db_version',9);
INSERT INTO sqlite_sequence VALUES('requests',4);
INSERT INTO sqlite_sequence VALUES('builds',2);
INSERT INTO sqlite_sequence VALUES('steps',6);
INSERT INTO sqlite_sequence VALUES('logs',4);
CREATE INDEX requests_pending ON requests (priority DESC, submitted_at, id) WHERE state = 'pending';
CREATE INDEX requests_by_builder ON requests (builder, id);
CREATE INDEX requests_by_state ON requests (state, id);
CREATE UNIQUE INDEX builds_running ON builds (request_id) WHERE finished_at = 0;
CREATE INDEX builds_by_builder ON builds (builder, id);
CREATE INDEX builds_by_worker ON builds (worker, id);
CREATE INDEX generations_open ON generations (worker, number) WHERE closed_at = 0;
CREATE INDEX attempts_open ON attempts (id) WHERE state = 'open';
CREATE INDEX attempts_by_token ON attempts (token);
CREATE INDEX instances_newest ON instances (launched_at DESC, id DESC);
CREATE INDEX instances_by_worker ON instances (worker, launched_at DESC, id DESC);
CREATE INDEX instances_live ON instances (launched_at DESC, id DESC) WHERE state NOT IN ('terminated', 'gone');
CREATE INDEX instances_by_end ON instances (ended_at, id);
CREATE INDEX builds_by_instance ON builds (instance_id) WHERE instance_id <> '';
CREATE UNIQUE INDEX requests_by_key ON requests (submit_key) WHERE submit_key <> '';
CREATE INDEX requests_by_parent ON requests (parent_build, id) WHERE parent_build <> 0;
CREATE INDEX builds_retried ON builds (request_id, id) WHERE result = 5;
COMMIT;

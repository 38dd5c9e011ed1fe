-- Times are microseconds since 1970 UTC, 0 for "not yet". JSON is text.
-- Two words are spelled per dialect when this is read: IDENTITY and BYTES.

-- +goose Up
CREATE TABLE deployment (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    id   TEXT NOT NULL,
    key  BYTES NOT NULL
);

-- The one master that may write. fence counts changes of ownership.
CREATE TABLE lease (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    fence       BIGINT NOT NULL,
    owner       TEXT NOT NULL,
    expires_at  BIGINT NOT NULL
);
INSERT INTO lease (one, fence, owner, expires_at) VALUES (1, 0, '', 0);

CREATE TABLE requests (
    id              IDENTITY,
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
    complete_at     BIGINT NOT NULL DEFAULT 0,
    CHECK ((state = 'complete') = (result IS NOT NULL))
);
CREATE INDEX requests_pending ON requests (priority DESC, submitted_at, id) WHERE state = 'pending';
CREATE INDEX requests_by_builder ON requests (builder, id);
CREATE INDEX requests_by_state ON requests (state, id);

-- The number of each builder's newest build.
CREATE TABLE builders (
    name         TEXT PRIMARY KEY,
    last_number  BIGINT NOT NULL
);

CREATE TABLE builds (
    id            IDENTITY,
    builder       TEXT NOT NULL,
    number        BIGINT NOT NULL,
    request_id    BIGINT NOT NULL REFERENCES requests (id),
    worker        TEXT NOT NULL,
    generation    BIGINT NOT NULL,
    instance_id   TEXT NOT NULL,
    started_at    BIGINT NOT NULL,
    finished_at   BIGINT NOT NULL DEFAULT 0,
    result        INTEGER,
    state_string  TEXT NOT NULL DEFAULT '',
    UNIQUE (builder, number),
    CHECK ((finished_at = 0) = (result IS NULL))
);
-- At most one build of a request runs at a time.
CREATE UNIQUE INDEX builds_running ON builds (request_id) WHERE finished_at = 0;
CREATE INDEX builds_by_builder ON builds (builder, id);
CREATE INDEX builds_by_worker ON builds (worker, id);

CREATE TABLE build_properties (
    build_id  BIGINT NOT NULL REFERENCES builds (id),
    name      TEXT NOT NULL,
    value     TEXT NOT NULL,
    source    TEXT NOT NULL,
    PRIMARY KEY (build_id, name)
);

CREATE TABLE steps (
    id            IDENTITY,
    build_id      BIGINT NOT NULL REFERENCES builds (id),
    position      BIGINT NOT NULL,
    name          TEXT NOT NULL,
    started_at    BIGINT NOT NULL,
    finished_at   BIGINT NOT NULL DEFAULT 0,
    result        INTEGER,
    state_string  TEXT NOT NULL,
    hidden        INTEGER NOT NULL,
    UNIQUE (build_id, position),
    CHECK ((finished_at = 0) = (result IS NULL))
);

CREATE TABLE logs (
    id        IDENTITY,
    step_id   BIGINT NOT NULL REFERENCES steps (id),
    name      TEXT NOT NULL,
    type      TEXT NOT NULL,
    lines     BIGINT NOT NULL DEFAULT 0,
    bytes     BIGINT NOT NULL DEFAULT 0,
    complete  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (step_id, name)
);

-- The lines of a log, compressed: lines and bytes count what data holds.
CREATE TABLE log_chunks (
    log_id      BIGINT NOT NULL REFERENCES logs (id),
    first_line  BIGINT NOT NULL,
    lines       BIGINT NOT NULL,
    first_byte  BIGINT NOT NULL,
    bytes       BIGINT NOT NULL,
    data        BYTES NOT NULL,
    PRIMARY KEY (log_id, first_line)
);

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
    reason       TEXT NOT NULL,
    PRIMARY KEY (worker, number)
);
CREATE INDEX generations_open ON generations (worker, number) WHERE closed_at = 0;

-- A launch is one rendered request, sent as often as its answer is lost.
CREATE TABLE launches (
    token    TEXT PRIMARY KEY,
    id       TEXT NOT NULL,
    request  BYTES NOT NULL
);

-- An attempt is one generation's part in a launch.
CREATE TABLE attempts (
    id             IDENTITY,
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
CREATE INDEX attempts_open ON attempts (id) WHERE state = 'open';
CREATE INDEX attempts_by_token ON attempts (token);

-- The cost ledger. An instance may be found in the cloud before, or without,
-- anything else being known of it, so it refers to nothing.
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
CREATE INDEX instances_newest ON instances (launched_at DESC, id DESC);
CREATE INDEX instances_by_worker ON instances (worker, launched_at DESC, id DESC);
CREATE INDEX instances_live ON instances (launched_at DESC, id DESC) WHERE state NOT IN ('terminated', 'gone');

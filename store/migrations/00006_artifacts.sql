-- Files that builds keep on the master, and requests that builds make.

-- +goose Up
CREATE TABLE artifacts (
    build_id    BIGINT NOT NULL REFERENCES builds (id),
    path        TEXT NOT NULL,
    step_id     BIGINT NOT NULL REFERENCES steps (id),
    bytes       BIGINT NOT NULL,
    sha256      TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (build_id, path)
);

ALTER TABLE requests ADD COLUMN parent_build BIGINT NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN submit_key TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX requests_by_key ON requests (submit_key) WHERE submit_key <> '';
CREATE INDEX requests_by_parent ON requests (parent_build, id) WHERE parent_build <> 0;

-- How often the worker was lost under a build of a request, and until when the
-- request is not tried again since; and which try of it a build is.

-- +goose Up
ALTER TABLE requests ADD COLUMN lost BIGINT NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN not_before BIGINT NOT NULL DEFAULT 0;
ALTER TABLE builds ADD COLUMN try BIGINT NOT NULL DEFAULT 1;
CREATE INDEX builds_retried ON builds (request_id, id) WHERE result = 5; -- RETRY

-- What cost reports look for: instances by their end, and the builds on them.

-- +goose Up
CREATE INDEX instances_by_end ON instances (ended_at, id);
CREATE INDEX builds_by_instance ON builds (instance_id) WHERE instance_id <> '';

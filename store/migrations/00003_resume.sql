-- What a master that was started again needs to go on with a build.

-- +goose Up
-- The builder's steps as they were when the build began, and the agent's
-- session it began in; both empty for a build that cannot go on.
ALTER TABLE builds ADD COLUMN plan TEXT NOT NULL DEFAULT '';
ALTER TABLE builds ADD COLUMN session TEXT NOT NULL DEFAULT '';
-- Why somebody asked the build to stop, empty if nobody did.
ALTER TABLE builds ADD COLUMN stop_reason TEXT NOT NULL DEFAULT '';
-- How far a running step has come, in the words of the package that runs it.
ALTER TABLE steps ADD COLUMN progress TEXT NOT NULL DEFAULT '';
-- The hash of the secret that the generation's agent has bound itself to.
ALTER TABLE generations ADD COLUMN secret TEXT NOT NULL DEFAULT '';

-- How often EC2 has taken the instance back from under a build of a request.

-- +goose Up
ALTER TABLE requests ADD COLUMN interrupted INTEGER NOT NULL DEFAULT 0;

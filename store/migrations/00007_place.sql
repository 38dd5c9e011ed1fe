-- Where the database was when a master last took it, by which a copy is told
-- from it. PostgreSQL's includes the identity of this table, which is never made
-- anew.

-- +goose Up
ALTER TABLE deployment ADD COLUMN place TEXT NOT NULL DEFAULT '';
ALTER TABLE deployment ADD COLUMN host TEXT NOT NULL DEFAULT '';
ALTER TABLE deployment ADD COLUMN taken_at BIGINT NOT NULL DEFAULT 0;

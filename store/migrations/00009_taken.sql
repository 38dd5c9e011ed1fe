-- When EC2 takes a spot instance back, as it has announced, and what it bills an
-- instance as.

-- +goose Up
ALTER TABLE instances ADD COLUMN taken_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN platform TEXT NOT NULL DEFAULT '';

-- Mails that a server has yet to take.

-- +goose Up
CREATE TABLE mails (
    id          IDENTITY,
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

-- Clients' transactions that this Postgres refused, set aside by pg-publish so that the others go on.

CREATE TABLE IF NOT EXISTS electric.rejected_writes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id   text NOT NULL,
    lsn         bytea NOT NULL,                      -- the client's own
    user_id     text NOT NULL,
    rejected_at timestamptz NOT NULL DEFAULT now(),
    sqlstate    text NOT NULL,
    message     text NOT NULL,
    operations  jsonb NOT NULL
);

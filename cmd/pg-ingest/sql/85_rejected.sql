-- Clients' transactions that this Postgres refused, set aside by pg-publish so that the others go on.

CREATE TABLE IF NOT EXISTS electric.rejected_writes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id   text NOT NULL,
    lsn         bytea NOT NULL,                      -- the client's own
    user_id     text NOT NULL,
    rejected_at timestamptz NOT NULL DEFAULT now(),
    sqlstate    text NOT NULL,
    message     text NOT NULL,
    operations  jsonb NOT NULL                       -- of each: kind, relation, values by attnum, claimed, observed
);
CALL electric.add_column('electric.rejected_writes', 'written_ms', 'bigint NOT NULL DEFAULT 0');  -- by the client's clock

-- Applies a transaction that was refused, as its client wrote it then, and takes it off the list. What Postgres still
-- has against it is raised. Clients see it as a write of Postgres with the client's tags.
DROP FUNCTION IF EXISTS electric.retry_rejected(bigint);
CREATE OR REPLACE FUNCTION electric.retry_rejected(rejected bigint, own text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    w electric.rejected_writes;
BEGIN
    DELETE FROM electric.rejected_writes AS r WHERE r.id = rejected RETURNING r.* INTO w;
    IF w.id IS NULL THEN
        RAISE EXCEPTION 'there is no rejected write %', rejected USING ERRCODE = 'no_data_found';
    END IF;
    PERFORM electric.apply_operations(w.client_id, w.written_ms, own, w.operations);
END
$$;

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
ALTER TABLE electric.rejected_writes ADD COLUMN IF NOT EXISTS written_ms bigint NOT NULL DEFAULT 0;  -- by the client's clock

-- Applies a transaction that was refused, as its client wrote it then, and takes it off the list. What Postgres still
-- has against it is raised. Clients see it as a write of Postgres with the client's tags.
CREATE OR REPLACE FUNCTION electric.retry_rejected(rejected bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    w        electric.rejected_writes;
    op       jsonb;
    vals     text[];
    claims   boolean[];
    observed electric.tag[];
BEGIN
    DELETE FROM electric.rejected_writes AS r WHERE r.id = rejected RETURNING r.* INTO w;
    IF w.id IS NULL THEN
        RAISE EXCEPTION 'there is no rejected write %', rejected USING ERRCODE = 'no_data_found';
    END IF;
    FOR op IN SELECT * FROM jsonb_array_elements(w.operations) LOOP
        SELECT array_agg(op -> 'values' ->> num::text ORDER BY num),
               array_agg(CASE WHEN op -> 'values' ? num::text THEN op -> 'claimed' @> to_jsonb(num) END ORDER BY num)
          INTO vals, claims
          FROM generate_series(1, (SELECT max(n::integer) FROM jsonb_object_keys(op -> 'values') AS n)) AS num;
        SELECT coalesce(array_agg(ROW(substring(t FROM '@([0-9]+)$')::bigint,
                                      CASE WHEN t !~ '^postgres_[0-9]+@' THEN substring(t FROM '^(.*)@') END)::electric.tag),
                        '{}')
          INTO observed
          FROM jsonb_array_elements_text(op -> 'observed') AS t;
        EXECUTE format('SELECT electric.apply_%s($1, $2, $3, $4, $5)', (op ->> 'relation')::oid)
          USING op ->> 'kind' = 'delete', ROW(w.written_ms, w.client_id)::electric.tag, observed, vals, claims;
    END LOOP;
END
$$;

-- A client's transaction whole, its operations as JSON: as electric.rejected_writes keeps it, and as a subscription
-- brings it.

-- One object for each: kind, relation, values by attnum as text, claimed (attnums), observed (tags as origin@ms).
-- `own` is the origin under which this Postgres' own writes travel.
CREATE OR REPLACE FUNCTION electric.apply_operations(source text, ms bigint, own text, operations jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    op       jsonb;
    tag      electric.tag := ROW(ms, nullif(source, own))::electric.tag;
    claims   boolean[];
    observed electric.tag[];
BEGIN
    FOR op IN SELECT * FROM jsonb_array_elements(operations) LOOP
        SELECT array_agg(CASE WHEN op -> 'values' ? num::text THEN op -> 'claimed' @> to_jsonb(num) END ORDER BY num)
          INTO claims
          FROM generate_series(1, electric.last_num(op)) AS num;
        SELECT coalesce(array_agg(ROW(substring(t FROM '@([0-9]+)$')::bigint,
                                      nullif(substring(t FROM '^(.*)@'), own))::electric.tag), '{}')
          INTO observed
          FROM jsonb_array_elements_text(op -> 'observed') AS t
         WHERE t ~ '@[0-9]{1,18}$';
        EXECUTE format('SELECT electric.apply_%s($1, $2, $3, $4, $5)', (op ->> 'relation')::oid)
          USING op ->> 'kind' = 'delete', tag, observed, electric.operation_values(op), claims;
    END LOOP;
END
$$;

-- The greatest attnum that the operation has a value for.
CREATE OR REPLACE FUNCTION electric.last_num(op jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT max(n::integer) FROM jsonb_object_keys(op -> 'values') AS n
$$;

CREATE OR REPLACE FUNCTION electric.operation_values(op jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(op -> 'values' ->> num::text ORDER BY num) FROM generate_series(1, electric.last_num(op)) AS num
$$;

-- Rows that change without being in the WAL, told to pg-ingest by messages of their transaction:
--
--   "electric.row" {"relation": oid, "vals": [text by attnum], "tags": "<tag array>", "columns": "<tag array>",
--                   "filled": [attnum, ...]}
--                    the row has got these values in the columns that are filled, which were NULL
--                  the same with "state": true in place of "filled", and "client"
--                    the row for other instances, or that one alone: see 89_instances.sql
--                  {"relation": oid, "vals": [text by attnum]}
--                    the row is gone
--                  {"relation": oid}
--                    a TRUNCATE has told its rows

CREATE OR REPLACE FUNCTION electric.tell(message jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_logical_emit_message(true, 'electric.row', message::text)
$$;

-- The values as the WAL's decoder writes them; a cast to text may differ.
CREATE OR REPLACE FUNCTION electric.tell_rows(tab oid, filled jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET DateStyle = ISO SET IntervalStyle = postgres SET TimeZone = 'UTC'
SET extra_float_digits = 1 SET bytea_output = hex SET jit = off AS $$
DECLARE
    vals     text;
    same_key text;
    shadow   regclass;
    details  text := '';
BEGIN
    SELECT electric.array_by_num(
               array_agg(num), array_agg(format('CASE WHEN m.%1$s IS DISTINCT FROM NULL THEN format(''%%s'', m.%1$s) END', name)), 0),
           string_agg(format('s.k%s %s m.%s', key_pos, key_equal, name), ' AND ') FILTER (WHERE key_pos IS NOT NULL)
      INTO vals, same_key
      FROM electric.columns_of(tab);
    SELECT e.shadow::regclass INTO shadow FROM electric.electrified AS e WHERE e.oid = tab;
    IF filled IS NOT NULL THEN
        details := format($sql$, 'filled', %L::jsonb,
                         'tags', CASE WHEN s._tags IS NULL OR s._tags = '{}' THEN ARRAY[ROW(0, NULL)::electric.tag]
                                      ELSE s._tags END::text,
                         'columns', s._column_tags::text$sql$, filled);
    END IF;
    EXECUTE format('SELECT count(*) FROM ONLY %s AS m LEFT JOIN %s AS s ON %s, '
                   'LATERAL electric.tell(jsonb_build_object(''relation'', %s, ''vals'', to_jsonb(%s)%s))',
                   tab::regclass, shadow, same_key, tab, vals, details);
END
$$;

CREATE OR REPLACE FUNCTION electric.tell_truncated(tab oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM electric.tell(jsonb_build_object('relation', tab::bigint));
    PERFORM electric.tell_rows(tab, NULL);
END
$$;

-- What brings the author of a refused transaction back to what Postgres holds.
--
--   electric.repair_<oid>(vals)   the row with the key that stands in vals (by attnum), as JSON:
--     {"row": {"<attnum>": "<text>" or null, ...}, "tags": "<tag array>", "columns": "<column tags>"}, or {} when there is no such row
--
-- The shadow row is locked first. Whoever writes the row at the same time then either has committed, and is seen, or
-- comes after this in the WAL.

CREATE OR REPLACE FUNCTION electric.create_repair_function(tab oid, shadow oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys       text;   -- k1, k2
    key_values text;   -- (vals[1])::integer, ...
    main_key   text;   -- m.id = (vals[1])::integer AND ...
    shadow_key text;
    row_values text;   -- '1', CASE WHEN m.id IS NOT NULL THEN format('%s', m.id) END, ...
BEGIN
    SELECT string_agg('k' || key_pos, ', ' ORDER BY key_pos),
           string_agg(format('(vals[%s])::%s', num, cast_type), ', ' ORDER BY key_pos),
           string_agg(format('m.%s %s (vals[%s])::%s', name, key_equal, num, cast_type), ' AND ' ORDER BY key_pos),
           string_agg(format('s.k%s %s (vals[%s])::%s', key_pos, key_equal, num, cast_type), ' AND ' ORDER BY key_pos)
      INTO keys, key_values, main_key, shadow_key
      FROM electric.columns_of(tab)
     WHERE key_pos IS NOT NULL;

    -- As the types' output functions write it, which is what the WAL's decoder sends; a cast to text may differ.
    -- One object for each column: a function takes no more than a hundred arguments.
    SELECT string_agg(format('jsonb_build_object(%L, CASE WHEN m.%2$s IS DISTINCT FROM NULL THEN format(''%%s'', m.%2$s) END)',
                             num::text, name), E'\n                || ' ORDER BY num)
      INTO row_values
      FROM electric.columns_of(tab);

    EXECUTE format('CREATE OR REPLACE FUNCTION electric.repair_%s(vals text[]) RETURNS jsonb LANGUAGE plpgsql AS %L',
                   tab, format($body$
DECLARE
    image jsonb;
BEGIN
    INSERT INTO %1$s AS s (%2$s, _tags, _latest) VALUES (%3$s, '{}', 0)
    ON CONFLICT (%2$s) DO UPDATE SET _latest = s._latest;
    SELECT jsonb_build_object(
               'row', %4$s,
               'tags', CASE WHEN s._tags = '{}' THEN ARRAY[ROW(0, NULL)::electric.tag] ELSE s._tags END::text,
               'columns', s._column_tags::text)
      INTO image
      FROM %5$s AS m, %1$s AS s
     WHERE %6$s AND %7$s;
    RETURN coalesce(image, '{}');
END
$body$, shadow::regclass, keys, key_values, row_values, tab::regclass, main_key, shadow_key));
END
$$;

-- The keys, by attnum, of the synced rows that refer to this one.
CREATE OR REPLACE FUNCTION electric.referring_rows(relation oid, vals text[])
RETURNS TABLE (referring oid, referring_vals text[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fk        record;
    this_key  text;
    other_key text;
BEGIN
    SELECT string_agg(format('m.%s %s ($1[%s])::%s', name, key_equal, num, cast_type), ' AND ')
      INTO this_key
      FROM electric.columns_of(relation)
     WHERE key_pos IS NOT NULL;
    FOR fk IN
        SELECT c.conrelid, string_agg(format('o.%I = m.%I', oa.attname, ma.attname), ' AND ') AS refers
          FROM pg_constraint AS c
          JOIN electric.electrified AS e ON e.oid = c.conrelid
         CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS k (own, other)
          JOIN pg_attribute AS oa ON oa.attrelid = c.conrelid AND oa.attnum = k.own
          JOIN pg_attribute AS ma ON ma.attrelid = c.confrelid AND ma.attnum = k.other
         WHERE c.contype = 'f' AND c.confrelid = relation
         GROUP BY c.oid, c.conrelid
    LOOP
        SELECT electric.array_by_num(array_agg(num), array_agg(format('format(''%%s'', o.%s)', name)), 0)
          INTO other_key
          FROM electric.columns_of(fk.conrelid)
         WHERE key_pos IS NOT NULL;
        referring := fk.conrelid;
        FOR referring_vals IN EXECUTE
            format('SELECT %s FROM %s AS o JOIN %s AS m ON %s WHERE %s',
                   other_key, fk.conrelid::regclass, relation::regclass, fk.refers, this_key)
            USING vals
        LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;

-- The same for the rows that refer to it, and those that refer to them: a client that had deleted the row could not
-- take them. `above`: the rows on the way here.
CREATE OR REPLACE FUNCTION electric.repair_referring(client_id text, relation oid, vals text[], above text[] DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    here text := relation || ' ' || vals::text;
    r    record;
BEGIN
    IF here = ANY (above) THEN
        RETURN;
    END IF;
    FOR r IN SELECT * FROM electric.referring_rows(relation, vals) LOOP
        PERFORM electric.repair(client_id, r.referring, r.referring_vals, false);
        PERFORM electric.repair_referring(client_id, r.referring, r.referring_vals, above || here);
    END LOOP;
EXCEPTION
    WHEN data_exception THEN
        RETURN;   -- a key that cannot be: nothing refers to it
END
$$;

-- Tells pg-ingest what to send to this client alone: the row as it is now, or that there is none.
CREATE OR REPLACE FUNCTION electric.repair(client_id text, relation oid, vals text[], deleted boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    image jsonb;
BEGIN
    BEGIN
        EXECUTE format('SELECT electric.repair_%s($1)', relation) INTO image USING vals;
    EXCEPTION
        WHEN data_exception OR integrity_constraint_violation THEN
            image := '{}';   -- a key that cannot be: there is no such row
        WHEN undefined_function OR undefined_table OR undefined_column OR insufficient_privilege THEN
            RETURN;          -- the table is no longer synced
    END;
    PERFORM pg_catalog.pg_logical_emit_message(true, 'electric.repair', (image || pg_catalog.jsonb_build_object(
        'client', client_id, 'relation', relation::bigint, 'vals', pg_catalog.to_jsonb(vals)))::text);
    IF deleted AND image <> '{}' THEN
        PERFORM electric.repair_referring(client_id, relation, vals);
    END IF;
END
$$;

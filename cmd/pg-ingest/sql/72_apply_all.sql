-- What clients write, many operations on one table in one call.
--
--   electric.apply_all_<oid>(marks, users, tags, deleted, observed, vals, claims, runs)
--     marks      before the first operation of a client's transaction: what marks that transaction in the WAL; else NULL
--     users      there: whose transaction it is; else NULL
--     tags, deleted, observed, vals, claims   one for each operation; see electric.apply_<oid>
--     runs       greater than 1: so many operations from this one on insert rows with the same columns, and are of one
--                transaction. Whole rows are taken to be new ones, with one statement; where one is not, that is the
--                error LE002, and the caller tries again without runs
--
-- A row that is new to the table and to its shadow has nothing to settle: it comes in as it is, with the one tag.

CREATE OR REPLACE FUNCTION electric.create_apply_all_function(tab oid, shadow oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys       text;   -- k1, k2
    key_values text;   -- (v[1])::integer, ...
    arbiter    text;   -- ON CONFLICT (id) DO NOTHING
    columns    text;
    new_values text;
    overriding text;
    whole      text;   -- a.claims[2] AND ...
    owner_num  integer := electric.owner_num(tab);
    check_rows text := CASE WHEN owner_num IS NULL THEN '' ELSE format($body$
            PERFORM electric.check_owner((u::text[])[%s]) FROM unnest(vals[i : i + runs[i] - 1]) AS u;$body$,
                                                                       owner_num) END;
BEGIN
    SELECT string_agg('k' || key_pos, ', ' ORDER BY key_pos) FILTER (WHERE key_pos IS NOT NULL),
           string_agg(format('(v[%s])::%s', num, cast_type), ', ' ORDER BY key_pos) FILTER (WHERE key_pos IS NOT NULL),
           string_agg(name, ', ' ORDER BY num) FILTER (WHERE NOT generated),
           string_agg(format('(v[%s])::%s', num, cast_type), ', ' ORDER BY num) FILTER (WHERE NOT generated),
           CASE WHEN bool_or(always) THEN 'OVERRIDING SYSTEM VALUE' ELSE '' END,
           coalesce(string_agg(format('op.sent[%s]', num), ' AND ') FILTER (WHERE key_pos IS NULL AND NOT generated), 'true')
      INTO keys, key_values, columns, new_values, overriding, whole
      FROM electric.columns_of(tab);
    -- A deferrable key cannot arbitrate: a row that is not new is a unique violation there.
    SELECT CASE WHEN NOT p.condeferrable THEN
               (SELECT format('ON CONFLICT (%s) DO NOTHING', string_agg(name, ', ' ORDER BY key_pos))
                  FROM electric.columns_of(tab) WHERE key_pos IS NOT NULL)
           ELSE '' END
      INTO arbiter
      FROM pg_constraint AS p
     WHERE p.conrelid = tab AND p.contype = 'p';

    EXECUTE format('CREATE OR REPLACE FUNCTION electric.apply_all_%s(marks bytea[], users text[], tags electric.tag[], '
                   'deleted boolean[], observed text[], vals text[], claims text[], runs integer[]) RETURNS void '
                   'LANGUAGE plpgsql AS %L',
                   tab, format($body$
#variable_conflict use_column
<<op>>
DECLARE
    i        integer := 1;
    n        integer := cardinality(deleted);
    tag      electric.tag;
    sent     boolean[];
    setting  text;
    inserted bigint;
    noted    bigint;
BEGIN
    WHILE i <= n LOOP
        IF marks[i] IS NOT NULL THEN
            PERFORM pg_logical_emit_message(true, 'electric', marks[i]);
            op.setting := set_config('electric.user_id', users[i], true);
        END IF;
        op.sent := NULL;
        IF runs[i] > 1 THEN
            op.sent := claims[i]::boolean[];
        END IF;
        IF runs[i] > 1 AND %11$s THEN
            op.tag := tags[i];%12$s
            op.setting := set_config('electric.applying', '%1$s/' || pg_trigger_depth(), true);
            WITH incoming AS MATERIALIZED (
                SELECT u::text[] AS v FROM unnest(vals[i : i + runs[i] - 1]) AS u
            ), inserted AS (
                INSERT INTO %2$s AS m (%3$s) %4$s
                SELECT %5$s
                  FROM incoming
                %6$s
                RETURNING 1
            ), noted AS (
                INSERT INTO %7$s AS s (%8$s, _tags, _latest, _column_tags)
                SELECT %9$s, ARRAY[op.tag], (op.tag).ms, ARRAY[op.tag]
                  FROM incoming
                ON CONFLICT (%8$s) DO NOTHING
                RETURNING 1
            )
            SELECT (SELECT count(*) FROM inserted), (SELECT count(*) FROM noted) INTO op.inserted, op.noted;
            op.setting := set_config('electric.applying', '', true);
            IF op.inserted <> runs[i] OR op.noted <> runs[i] THEN
                RAISE EXCEPTION 'not all rows are new to %%', %10$L USING ERRCODE = 'LE002';
            END IF;
            i := i + runs[i];
        ELSE
            PERFORM electric.apply_%1$s(deleted[i], tags[i], observed[i]::electric.tag[], vals[i]::text[],
                                        claims[i]::boolean[]);
            i := i + 1;
        END IF;
    END LOOP;
END
$body$, tab, tab::regclass, columns, overriding, new_values, arbiter, shadow::regclass, keys, key_values,
           tab::regclass, whole, check_rows));
END
$$;

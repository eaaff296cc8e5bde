-- What another Postgres of this service tells of a row: the row with its tags, as it is there.
--
--   electric.merge_<oid>(gone, forced, yields, vals, added, removed, columns)
--     gone             there the row is deleted; vals is what it was
--     forced           take it as it is there, whatever is here: a write of this Postgres was refused
--     yields           of values that nobody has written since both tables were electrified, take the other's
--     vals             the row as text, by attnum
--     added, removed   how the transaction changed the tags of the row
--     columns          its column tags, as in _column_tags
--
-- Tags that were added stay until somebody removes them who has seen them, so a write that the other did not know of
-- keeps its row. Of each column the later value stays. The order in which Postgres and Postgres tell each other of
-- their rows then makes no difference, but for what one of them tells of the same row.
--
--   electric.merge_all_<oid>(yields, vals, stamps, gone, forced, added, removed, columns, runs)
--     many rows, in their order. vals has a row of them in each row; stamps says of each row which elements of gone,
--     forced, added, removed and columns are its own. runs says how many go together: n, they are new, and on a
--     unique_violation one of them may not be, and the caller tries again with nothing but 0; -n, they are likely to be
--     here as they are; 0, it is one row, of which nothing is known
--
-- Users' triggers have run where the row was written. They, and foreign keys, which the transaction as a whole obeys,
-- are off here: session_replication_role is replica.

-- What a row is told with, its values aside; latest is the greatest time in it.
DO $$
BEGIN
    IF to_regtype('electric.stamp') IS NULL THEN
        CREATE TYPE electric.stamp AS (gone boolean, forced boolean, added electric.tag[], removed electric.tag[],
                                       columns electric.tag[], latest bigint);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION electric.create_merge_functions(tab oid, shadow oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys        text;   -- k1, k2
    key_values  text;   -- ($4[1])::integer, ...
    row_keys    text;   -- ($2[r.k][1])::integer, ...
    main_key    text;   -- m.id = ($4[1])::integer AND ...
    shadow_key  text;
    arbiter     text;
    won         text;
    column_tags text;
    row_key     text;   -- m.id = ($2[r.k][1])::integer AND ...
    row_shadow_key text;
    same_values text;
    same_row    text;   -- the same of a row of vals, with the key
    row_vals    text;   -- ARRAY[$2[op.k][1], ...]
    unmoved     text;   -- the merged column tags are those that are here
    tombstone   text;   -- the merged values of the row that goes
    dead_values text;   -- of one that went before
    columns     text;
    new_values  text;
    row_values  text;
    overriding  text;
    assigned    text;
    update_row  text;
    earlier     CONSTANT regprocedure := to_regprocedure(format(   -- as an earlier version has made it
        'electric.merge_all_%s(boolean[], boolean[], boolean, text[], text[], text[], text[], integer[])', tab));
BEGIN
    SELECT string_agg('k' || key_pos, ', ' ORDER BY key_pos),
           string_agg(format('($4[%s])::%s', num, cast_type), ', ' ORDER BY key_pos),
           string_agg(format('($2[r.k][%s])::%s', num, cast_type), ', ' ORDER BY key_pos),
           string_agg(format('m.%s %s ($4[%s])::%s', name, key_equal, num, cast_type), ' AND ' ORDER BY key_pos),
           string_agg(format('s.k%s %s ($4[%s])::%s', key_pos, key_equal, num, cast_type), ' AND ' ORDER BY key_pos),
           string_agg(format('m.%s %s ($2[r.k][%s])::%s', name, key_equal, num, cast_type), ' AND ' ORDER BY key_pos),
           string_agg(format('s.k%s %s ($2[r.k][%s])::%s', key_pos, key_equal, num, cast_type), ' AND ' ORDER BY key_pos)
      INTO keys, key_values, row_keys, main_key, shadow_key, row_key, row_shadow_key
      FROM electric.columns_of(tab)
     WHERE key_pos IS NOT NULL;
    SELECT CASE WHEN NOT p.condeferrable THEN format('ON CONFLICT (%s) DO NOTHING',
               (SELECT string_agg(name, ', ' ORDER BY key_pos) FROM electric.columns_of(tab) WHERE key_pos IS NOT NULL))
           ELSE '' END
      INTO arbiter
      FROM pg_constraint AS p
     WHERE p.conrelid = tab AND p.contype = 'p';

    SELECT electric.array_by_num(array_agg(num), array_agg(CASE WHEN data THEN format(
               'op.all_won OR coalesce(electric.not_older(coalesce($7[%1$s], $7[1]), coalesce(op.column_tags[%1$s], '
               'op.column_tags[1])), coalesce($7[%1$s], $7[1]) IS NOT NULL OR $3 AND coalesce(op.column_tags[%1$s], '
               'op.column_tags[1]) IS NULL)', num + 1) END), 15),
           electric.array_by_num(
               1 || array_agg(num + 1),
               'NULL'::text || array_agg(CASE WHEN data THEN format(
                   'CASE WHEN op.won[%1$s] THEN coalesce($7[%2$s], $7[1]) ELSE coalesce(op.column_tags[%2$s], '
                   'op.column_tags[1]) END', num, num + 1) END), 15),
           coalesce(string_agg(format('m.%s::text IS NOT DISTINCT FROM $4[%s]', name, num), ' AND ' ORDER BY num)
                        FILTER (WHERE data), 'true'),
           string_agg(format('m.%s::text IS NOT DISTINCT FROM $2[r.k][%s]', name, num), ' AND ' ORDER BY num)
               FILTER (WHERE NOT generated),
           coalesce(string_agg(format('op.merged[%1$s] IS NOT DISTINCT FROM coalesce(op.column_tags[%1$s], op.column_tags[1])',
                                      num + 1), E' AND ' ORDER BY num) FILTER (WHERE data), 'true'),
           electric.array_by_num(array_agg(num), array_agg(
               format(CASE WHEN data THEN 'CASE WHEN op.won[%2$s] THEN $4[%2$s] ELSE m.%1$s::text END'
                      ELSE 'm.%s::text' END, name, num)), 15),
           electric.array_by_num(array_agg(num), array_agg(
               format(CASE WHEN data THEN 'CASE WHEN op.won[%1$s] THEN $4[%1$s] ELSE op.tombstone[%1$s] END'
                      ELSE 'op.tombstone[%s]' END, num)), 15),
           string_agg(name, ', ' ORDER BY num) FILTER (WHERE NOT generated),
           string_agg(CASE WHEN data THEN format('CASE WHEN op.won[%1$s] OR op.tombstone IS NULL THEN $4[%1$s]::%2$s '
                                                 'ELSE op.tombstone[%1$s]::%2$s END', num, cast_type)
                      ELSE format('$4[%s]::%s', num, cast_type) END, E',\n               ' ORDER BY num)
               FILTER (WHERE NOT generated),
           string_agg(format('($2[r.k][%s])::%s', num, cast_type), ', ' ORDER BY num) FILTER (WHERE NOT generated),
           electric.array_by_num(array_agg(num), array_agg(format('$2[op.k][%s]', num)), 47),
           CASE WHEN bool_or(always) THEN 'OVERRIDING SYSTEM VALUE' ELSE '' END,
           coalesce(string_agg(format('%s = CASE WHEN op.won[%s] THEN $4[%2$s]::%s ELSE m.%1$s END', name, num, cast_type),
                               E',\n               ' ORDER BY num) FILTER (WHERE data AND NOT always),
                    min(format('%s = m.%1$s', name)) FILTER (WHERE NOT generated AND NOT always),
                    min(format('%s = DEFAULT', name)) FILTER (WHERE generated))
      INTO won, column_tags, same_values, same_row, unmoved, tombstone, dead_values, columns, new_values, row_values, row_vals, overriding, assigned
      FROM (SELECT *, key_pos IS NULL AND NOT generated AS data FROM electric.columns_of(tab)) AS c;
    update_row := CASE WHEN assigned IS NULL THEN 'NULL'
                       ELSE format(E'UPDATE %s AS m\n           SET %s\n         WHERE %s', tab::regclass, assigned, main_key) END;

    EXECUTE format('CREATE OR REPLACE FUNCTION electric.merge_%s(gone boolean, forced boolean, yields boolean, vals text[], '
                   'added electric.tag[], removed electric.tag[], columns electric.tag[]) RETURNS void '
                   'LANGUAGE plpgsql AS %L', tab, format($body$
#variable_conflict use_column
<<op>>
DECLARE
    present     boolean;
    version     xid;      -- of the row
    same        boolean;  -- the values are those that are here
    seen        xid;      -- of the shadow row that was decided upon
    before      electric.tag[];
    tags        electric.tag[];
    column_tags electric.tag[];
    merged      electric.tag[];
    tombstone   text[];
    all_won     boolean;
    won         boolean[];
    inserted    boolean;
    noted       boolean;
    latest      bigint := (SELECT max((t).ms) FROM unnest($5 || $7) AS t);
BEGIN
    FOR attempt IN 1..20 LOOP
        SELECT m.xmin, %18$s
          INTO op.version, op.same
          FROM %1$s AS m
         WHERE %3$s FOR UPDATE;
        op.present := FOUND;
        SELECT s.xmin, s._tags, s._column_tags, s._tombstone, s._tags
          INTO op.seen, op.tags, op.column_tags, op.tombstone, op.before
          FROM %2$s AS s
         WHERE %4$s;
        IF op.present AND op.seen IS NULL THEN
            op.column_tags := electric.first_tags(op.version);
        END IF;
        IF NOT op.present THEN
            op.tags := '{}';
        ELSIF op.tags IS NULL OR op.tags = '{}' THEN
            op.tags := ARRAY[ROW(0, NULL)::electric.tag];
        END IF;
        op.tags := CASE WHEN $2 THEN $5 ELSE electric.tags_without(op.tags, $6 || $5) || $5 END;

        op.all_won := $2 OR NOT op.present AND op.tombstone IS NULL;
        op.won := %8$s::boolean[];
        op.merged := CASE WHEN op.all_won OR op.column_tags = $7 THEN $7 ELSE %9$s::electric.tag[] END;

        -- What it was decides what it will be when somebody who has not seen it go writes to it.
        IF op.tags = '{}' THEN
            IF op.present THEN
                INSERT INTO %2$s AS s (%5$s, _tags, _latest, _column_tags, _tombstone)
                SELECT %6$s, '{}', coalesce(op.latest, 0), op.merged,
                   %7$s
                  FROM %1$s AS m
                 WHERE %3$s
                ON CONFLICT (%5$s) DO UPDATE
                   SET _tags        = '{}',
                       _latest      = greatest(EXCLUDED._latest, s._latest),
                       _column_tags = EXCLUDED._column_tags,
                       _tombstone   = EXCLUDED._tombstone;
                DELETE FROM %1$s AS m WHERE %3$s;
            ELSIF op.tombstone IS NOT NULL AND op.merged IS DISTINCT FROM op.column_tags THEN
                UPDATE %2$s AS s
                   SET _latest      = greatest(op.latest, s._latest),
                       _column_tags = op.merged,
                       _tombstone   = %19$s
                 WHERE %4$s;
            ELSE
                UPDATE %2$s AS s SET _latest = op.latest WHERE %4$s AND s._latest < op.latest;
            END IF;
            RETURN;
        END IF;

        IF op.present THEN
            -- What this Postgres told before comes back as it is.
            IF op.same AND NOT $2 AND op.before @> op.tags AND op.tags @> op.before AND (op.merged = op.column_tags OR
               %17$s) THEN
                RETURN;
            END IF;
            INSERT INTO %2$s AS s (%5$s, _tags, _latest, _column_tags)
            VALUES (%10$s, op.tags, coalesce(op.latest, 0), op.merged)
            ON CONFLICT (%5$s) DO UPDATE
               SET _tags        = EXCLUDED._tags,
                   _latest      = greatest(EXCLUDED._latest, s._latest),
                   _column_tags = EXCLUDED._column_tags,
                   _tombstone   = NULL;
        %11$s;
            RETURN;
        ELSIF $1 THEN
            RETURN;
        END IF;

        WITH inserted AS (
            INSERT INTO %1$s AS m (%12$s) %13$s
            VALUES (
               %14$s)
            %15$s
            RETURNING 1
        ), noted AS (
            INSERT INTO %2$s AS s (%5$s, _tags, _latest, _column_tags)
            SELECT %10$s, op.tags, coalesce(op.latest, 0), op.merged FROM inserted
            ON CONFLICT (%5$s) DO UPDATE
               SET _tags        = EXCLUDED._tags,
                   _latest      = greatest(EXCLUDED._latest, s._latest),
                   _column_tags = EXCLUDED._column_tags,
                   _tombstone   = NULL
             WHERE s.xmin = op.seen
            RETURNING 1
        )
        SELECT EXISTS (SELECT FROM inserted), EXISTS (SELECT FROM noted) INTO op.inserted, op.noted;
        IF op.noted THEN
            RETURN;
        END IF;
        EXIT WHEN op.inserted;
    END LOOP;
    RAISE EXCEPTION 'a row of %% was written by others at the same time', %16$L USING ERRCODE = 'serialization_failure';
END
$body$, tab::regclass, shadow::regclass, main_key, shadow_key, keys, key_values, tombstone, won, column_tags, key_values,
           update_row, columns, overriding, new_values, arbiter, tab::regclass, unmoved, same_values,
           dead_values));

    IF earlier IS NOT NULL THEN
        EXECUTE format('DROP FUNCTION %s', earlier);
    END IF;
    -- A plan that is made for these very arrays would have them as constants, and search each from its beginning for
    -- each element.
    EXECUTE format('CREATE OR REPLACE FUNCTION electric.merge_all_%s(yields boolean, vals text[], stamps integer[], '
                   'gone boolean[], forced boolean[], added text[], removed text[], columns text[], runs integer[]) '
                   'RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS %L', tab, format($body$
#variable_conflict use_column
<<op>>
DECLARE
    told  electric.stamp[] := ARRAY(
              SELECT ROW(u.gone, u.forced, u.added, u.removed, u.columns,
                         (SELECT max((t).ms) FROM unnest(u.added::electric.tag[] || u.columns::electric.tag[]) AS t))::electric.stamp
                FROM unnest(gone, forced, added, removed, columns)
                     WITH ORDINALITY AS u (gone, forced, added, removed, columns, place)
               ORDER BY u.place);
    stamp electric.stamp;
    first integer := 1;
    n     integer;
    last  integer;
    k     integer;
BEGIN
    FOREACH op.n IN ARRAY runs LOOP
        op.last := op.first + greatest(abs(op.n), 1) - 1;
        IF op.n > 0 THEN
            -- The fastest way; where one of them is not new, the caller tries again row by row.
            INSERT INTO %2$s AS m (%3$s) %4$s
            SELECT %5$s
              FROM generate_series(op.first, op.last) AS r (k);
            INSERT INTO %6$s AS s (%7$s, _tags, _latest, _column_tags)
            SELECT %8$s, (op.told[$3[r.k]]).added, coalesce((op.told[$3[r.k]]).latest, 0),
                   (op.told[$3[r.k]]).columns
              FROM generate_series(op.first, op.last) AS r (k);
        ELSE
            FOR op.k IN
                SELECT r.k
                  FROM generate_series(op.first, op.last) AS r (k)
                  LEFT JOIN LATERAL (SELECT * FROM %2$s AS m WHERE op.n < 0 AND %9$s OFFSET 0) AS m ON true
                  LEFT JOIN LATERAL (SELECT * FROM %6$s AS s WHERE op.n < 0 AND %10$s OFFSET 0) AS s ON true
                 WHERE (s._tags = (op.told[$3[r.k]]).added AND s._column_tags = (op.told[$3[r.k]]).columns
                        AND %11$s) IS NOT TRUE
                 ORDER BY r.k
            LOOP
                op.stamp := op.told[$3[op.k]];
                PERFORM electric.merge_%1$s(op.stamp.gone, op.stamp.forced, $1,
                                            %12$s,
                                            op.stamp.added, op.stamp.removed, op.stamp.columns);
            END LOOP;
        END IF;
        op.first := op.last + 1;
    END LOOP;
END
$body$, tab, tab::regclass, columns, overriding, row_values, shadow::regclass, keys, row_keys, row_key, row_shadow_key,
           same_row, row_vals));
END
$$;

-- The column tags of a row that nobody has written since its table was electrified: when it was committed, where
-- Postgres tracks that.
CREATE OR REPLACE FUNCTION electric.first_tags(version xid) RETURNS electric.tag[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    committed timestamptz;
BEGIN
    IF current_setting('track_commit_timestamp')::boolean THEN
        committed := pg_xact_commit_timestamp(version);
    END IF;
    RETURN CASE WHEN committed IS NOT NULL
                THEN ARRAY[ROW(floor(extract(epoch FROM committed) * 1000)::bigint, NULL)::electric.tag] END;
END
$$;

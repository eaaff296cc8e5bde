-- What clients write: one function a table applies one operation on one row and settles conflicts.
--
--   electric.apply_<oid>(deleted, tag, observed, vals, claims)
--     deleted    the operation is a delete
--     tag        who wrote it and when
--     observed   the tags that the client had seen on the row
--     vals       the row as the client has it (for a delete: had it), as text, by attnum
--     claims     by attnum: true, the client changed the column; false, it sent it unchanged; NULL, it did not send it
--
-- The row exists while tags are left after the observed ones and the operation's own earlier one are taken away, and
-- the new one, unless it is a delete, is added. A column goes to the client if it claims it and no later tag holds it.
-- Writes to the shadow come before those to the table: what users' triggers then write to the same row comes later.

CREATE OR REPLACE FUNCTION electric.create_apply_function(tab oid, shadow oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys       text;   -- k1, k2
    key_values text;   -- ($4[1])::integer, ...
    main_key   text;   -- m.id = ($4[1])::integer AND ...
    shadow_key text;   -- s.k1 = ($4[1])::integer AND ...
    arbiter    text;   -- ON CONFLICT (id) DO NOTHING
    won        text;
    all_won    text;
    kept       text;
    tags       text;
    tombstone  text;
    columns    text;
    new_values text;
    overriding text;
    assigned   text;
    unchanged  text;
    update_row text;   -- the UPDATE of a row that is there
    touch_row  text;   -- an UPDATE that changes nothing
    lock_row   text;
    check_row  text;   -- that it is the user's
    owner_num  integer := electric.owner_num(tab);
BEGIN
    SELECT string_agg('k' || key_pos, ', ' ORDER BY key_pos),
           string_agg(format('($4[%s])::%s', num, cast_type), ', ' ORDER BY key_pos),
           string_agg(format('m.%s %s ($4[%s])::%s', name, key_equal, num, cast_type), ' AND ' ORDER BY key_pos),
           string_agg(format('s.k%s %s ($4[%s])::%s', key_pos, key_equal, num, cast_type), ' AND ' ORDER BY key_pos)
      INTO keys, key_values, main_key, shadow_key
      FROM electric.columns_of(tab)
     WHERE key_pos IS NOT NULL;

    -- A deferrable key cannot arbitrate; there, losing the race is a unique violation.
    SELECT CASE WHEN NOT p.condeferrable THEN
               (SELECT format('ON CONFLICT (%s) DO NOTHING', string_agg(name, ', ' ORDER BY key_pos))
                  FROM electric.columns_of(tab) WHERE key_pos IS NOT NULL)
           ELSE '' END
      INTO arbiter
      FROM pg_constraint AS p
     WHERE p.conrelid = tab AND p.contype = 'p';

    -- An identity that is generated always can be given to a new row, never changed on one that is there.
    SELECT electric.array_by_num(array_agg(num), array_agg(CASE WHEN data THEN format(
               'NOT $1 AND $5[%1$s] AND coalesce(electric.not_older($2, coalesce(op.column_tags[%2$s], op.column_tags[1])), true)',
               num, num + 1) || CASE WHEN always THEN ' AND NOT op.present' ELSE '' END END), 15),
           string_agg(format('op.won[%s]', num), ' AND ' ORDER BY num) FILTER (WHERE data),
           electric.array_by_num(array_agg(num), array_agg(CASE WHEN data THEN format(
               'op.won[%1$s] IS NOT TRUE AND %1$s <= cardinality(op.tombstone) '
               'AND ($5[%1$s] IS NULL OR NOT coalesce(op.column_tags[%2$s], op.column_tags[1]) IS NULL)',
               num, num + 1) END), 16),
           electric.array_by_num(
               1 || array_agg(num + 1),
               'op.column_tags[1]'::text || array_agg(CASE WHEN data THEN format(
                   'CASE WHEN op.won[%s] THEN $2 ELSE op.column_tags[%s] END', num, num + 1) END), 27),
           electric.array_by_num(array_agg(num), array_agg(format('m.%s::text', name)), 15),
           string_agg(name, ', ' ORDER BY num) FILTER (WHERE NOT generated),
           string_agg(CASE WHEN data THEN format(
                          E'CASE WHEN op.kept[%1$s] THEN op.tombstone[%1$s]::%2$s\n'
                          '                    WHEN $5[%1$s] IS NULL THEN %3$s\n'
                          '                    ELSE $4[%1$s]::%2$s END', num, cast_type, fallback)
                      ELSE format('$4[%s]::%s', num, cast_type) END,
                      E',\n               ' ORDER BY num) FILTER (WHERE NOT generated),
           CASE WHEN bool_or(always) THEN 'OVERRIDING SYSTEM VALUE' ELSE '' END,
           string_agg(format('%s = CASE WHEN op.won[%s] THEN $4[%2$s]::%s ELSE m.%1$s END', name, num, cast_type),
                      E',\n                   ' ORDER BY num) FILTER (WHERE data AND NOT always),
           coalesce(min(format('%s = m.%1$s', name)) FILTER (WHERE NOT generated AND NOT always),
                    min(format('%s = DEFAULT', name)) FILTER (WHERE generated))
      INTO won, all_won, kept, tags, tombstone, columns, new_values, overriding, assigned, unchanged
      FROM (SELECT *, key_pos IS NULL AND NOT generated AS data FROM electric.columns_of(tab)) AS c;

    -- A table of nothing but an identity that is generated always has no column that an UPDATE may name.
    touch_row := CASE WHEN unchanged IS NULL THEN 'NULL'
                      ELSE format('UPDATE %s AS m SET %s WHERE %s', tab::regclass, unchanged, main_key) END;
    update_row := CASE WHEN assigned IS NULL THEN touch_row
                       ELSE format(E'UPDATE %s AS m\n               SET %s\n             WHERE %s',
                                   tab::regclass, assigned, main_key) END;

    lock_row := format('%s FROM %s AS m WHERE %s FOR UPDATE',
                       CASE WHEN owner_num IS NULL THEN 'PERFORM 1' ELSE 'SELECT m.electric_user_id::text INTO op.owner' END,
                       tab::regclass, main_key);
    check_row := CASE WHEN owner_num IS NULL THEN '' ELSE format($body$
        PERFORM electric.check_owner(op.owner);
        IF NOT $1 THEN
            PERFORM electric.check_owner(CASE WHEN $5[%1$s] THEN $4[%1$s] ELSE op.tombstone[%1$s] END);
        END IF;$body$, owner_num) END;

    EXECUTE format('CREATE OR REPLACE FUNCTION electric.apply_%s(deleted boolean, tag electric.tag, '
                   'observed electric.tag[], vals text[], claims boolean[]) RETURNS void LANGUAGE plpgsql AS %L',
                   tab, format($body$
#variable_conflict use_column
<<op>>
DECLARE
    applying    text := '%1$s/' || pg_trigger_depth();
    setting     text;
    present     boolean;
    owner       text;
    seen        xid;      -- the version of the shadow row that was decided upon
    tags        electric.tag[];
    column_tags electric.tag[];
    tombstone   text[];
    won         boolean[];
    kept        boolean[];
    inserted    boolean;
    noted       boolean;
BEGIN
    FOR attempt IN 1..20 LOOP
        -- Whoever holds the row may write its shadow, so the row is locked, and the shadow only read.
        %20$s;
        op.present := FOUND;
        SELECT s.xmin, s._tags, s._column_tags, s._tombstone
          INTO op.seen, op.tags, op.column_tags, op.tombstone
          FROM %4$s AS s
         WHERE %5$s;%21$s

        IF NOT op.present AND $1 THEN
            -- Gone already. Its time is noted, so that Postgres, should it insert the row again, comes later.
            UPDATE %4$s AS s SET _latest = $2.ms WHERE %5$s AND s._latest < $2.ms;
            RETURN;
        END IF;

        -- The table is the truth about which rows exist.
        IF NOT op.present THEN
            op.tags := '{}';
        ELSIF op.tags IS NULL OR op.tags = '{}' THEN
            op.tags := ARRAY[ROW(0, NULL)::electric.tag];
        END IF;
        op.tags := electric.tags_without(op.tags, array_append($3, $2));

        IF $1 AND op.tags = '{}' THEN
            INSERT INTO %4$s AS s (%6$s, _tags, _latest, _tombstone)
            SELECT %7$s, '{}', $2.ms,
               %8$s
              FROM %2$s AS m
             WHERE %3$s
            ON CONFLICT (%6$s) DO UPDATE
               SET _tags      = '{}',
                   _latest    = greatest(EXCLUDED._latest, s._latest),
                   _tombstone = EXCLUDED._tombstone;
            op.setting := set_config('electric.applying', op.applying, true);
            DELETE FROM %2$s AS m WHERE %3$s;
            op.setting := set_config('electric.applying', '', true);
            IF NOT FOUND THEN
                -- A trigger kept the row: that is a write of Postgres, which brings it back to clients.
                %9$s;
            END IF;
            RETURN;
        ELSIF NOT $1 THEN
            op.tags := array_append(op.tags, $2);
        ELSIF $2.source IS NOT NULL THEN
            -- The row stays. To its author it was gone: rows that came meanwhile and refer to it may have found no
            -- place there.
            PERFORM electric.repair_referring($2.source, %1$s, $4);
        END IF;

        op.won := %10$s::boolean[];
        op.kept := %11$s::boolean[];
        IF %12$s THEN
            op.column_tags := ARRAY[$2];
        ELSE
            op.column_tags := %13$s::electric.tag[];
        END IF;

        IF op.present THEN
            INSERT INTO %4$s AS s (%6$s, _tags, _latest, _column_tags)
            VALUES (%7$s, op.tags, $2.ms, op.column_tags)
            ON CONFLICT (%6$s) DO UPDATE
               SET _tags        = EXCLUDED._tags,
                   _latest      = greatest(EXCLUDED._latest, s._latest),
                   _column_tags = EXCLUDED._column_tags,
                   _tombstone   = NULL;
            op.setting := set_config('electric.applying', op.applying, true);
            %14$s;
            op.setting := set_config('electric.applying', '', true);
            IF NOT FOUND THEN
                RAISE EXCEPTION 'a trigger kept a row of %% from being updated', %19$L
                    USING ERRCODE = 'triggered_action_exception';
            END IF;
            RETURN;
        END IF;

        -- One statement, so that the shadow is written before any trigger of the table runs.
        op.setting := set_config('electric.applying', op.applying, true);
        WITH inserted AS (
            INSERT INTO %2$s AS m (%15$s) %16$s
            VALUES (
               %17$s)
            %18$s
            RETURNING 1
        ), noted AS (
            INSERT INTO %4$s AS s (%6$s, _tags, _latest, _column_tags)
            SELECT %7$s, op.tags, $2.ms, op.column_tags FROM inserted
            ON CONFLICT (%6$s) DO UPDATE
               SET _tags        = EXCLUDED._tags,
                   _latest      = greatest(EXCLUDED._latest, s._latest),
                   _column_tags = EXCLUDED._column_tags,
                   _tombstone   = NULL
             WHERE s.xmin = op.seen
            RETURNING 1
        )
        SELECT EXISTS (SELECT FROM inserted), EXISTS (SELECT FROM noted) INTO op.inserted, op.noted;
        op.setting := set_config('electric.applying', '', true);
        IF op.noted THEN
            RETURN;
        END IF;
        EXIT WHEN op.inserted;
    END LOOP;
    -- Others who come and go in between so often are less likely than this.
    IF NOT op.inserted THEN
        RAISE EXCEPTION 'a trigger kept a row of %% from being inserted', %19$L
            USING ERRCODE = 'triggered_action_exception';
    END IF;
    RAISE EXCEPTION 'a row of %% was written by others at the same time', %19$L
        USING ERRCODE = 'serialization_failure';
END
$body$, tab, tab::regclass, main_key, shadow::regclass, shadow_key, keys, key_values, tombstone, touch_row,
           won, kept, coalesce(all_won, 'NOT $1'), tags, update_row, columns, overriding, new_values, arbiter,
           tab::regclass, lock_row, check_row));
END
$$;

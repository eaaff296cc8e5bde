-- What Postgres itself writes: the shadow table of a table, and the triggers that keep it.
--
-- A shadow row holds, for a row of the table,
--   k1, k2, ...   its primary key. Names of our own, so that no name of a user's column can collide
--   _tags         the reasons for the row to exist; none: it is deleted
--   _latest       the greatest time among all tags ever seen, so that a write of Postgres can be later
--   _column_tags  who wrote each column last. [1] is for all columns without an entry of their own,
--                 [attnum + 1] is a column's own; NULL is older than any tag
--   _tombstone    of a deleted row: its last values as text, by attnum
-- A row without shadow row was there before the table was electrified: tags {postgres@0}, no column tags.

CREATE OR REPLACE FUNCTION electric.create_shadow_table(tab oid) RETURNS oid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shadow  text;
    columns text;
    keys    text;
BEGIN
    SELECT format('shadow__%s__%s', n.nspname, c.relname)
      INTO shadow
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = tab;
    IF octet_length(shadow) > 63 OR to_regclass(format('electric.%I', shadow)) IS NOT NULL THEN
        shadow := format('shadow__%s', tab);
    END IF;

    SELECT string_agg(format('k%s %s NOT NULL', key_pos, key_type), ', ' ORDER BY key_pos),
           string_agg(format('k%s', key_pos), ', ' ORDER BY key_pos)
      INTO columns, keys
      FROM electric.columns_of(tab)
     WHERE key_pos IS NOT NULL;

    EXECUTE format($sql$
        CREATE TABLE electric.%I (
            %s,
            _tags        electric.tag[] NOT NULL,
            _latest      bigint         NOT NULL,
            _column_tags electric.tag[],
            _tombstone   text[],
            PRIMARY KEY (%s)) WITH (fillfactor = 50)
        $sql$, shadow, columns, keys);
    PERFORM electric.publish_shadow(format('electric.%I', shadow)::regclass);
    RETURN format('electric.%I', shadow)::regclass;
END
$$;

-- The functions run as their owner, so that whoever may write the table need not know of its shadow. No JIT: a plan
-- made for a million rows would be compiled again for each single row that follows in the session.
-- A write has to be later than what it replaces. That of the first instance is in the same millisecond, too.
CREATE OR REPLACE FUNCTION electric.create_trigger_function(name text, settings text, body text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT i.number > 1 FROM electric.instance AS i) THEN
        body := replace(body, 'greatest(EXCLUDED._latest, s._latest)', 'greatest(EXCLUDED._latest, s._latest + 1)');
    END IF;
    EXECUTE format('CREATE OR REPLACE FUNCTION electric.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER '
                   'SET search_path = pg_catalog, pg_temp SET jit = off %s AS %L', name, settings, body);
END
$$;

-- Creates or replaces the functions behind the triggers.
CREATE OR REPLACE FUNCTION electric.create_write_functions(tab oid, shadow oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys        text;   -- k1, k2
    new_keys    text;   -- n.id, n.part
    old_keys    text;
    either_keys text;   -- coalesce(n.id, o.id), ...
    same_key    text;   -- n.id = o.id AND ...
    one_key     text;   -- id: NULL in an outer join's row says that the row is missing there
    tombstone   text;
    changed     text;
    merged      text;
    removal     CONSTANT text := $body$
#variable_conflict use_column
<<op>>
DECLARE
    now_ms bigint := electric.now_ms();
BEGIN
    INSERT INTO %1$s AS s (%2$s, _tags, _latest, _tombstone)
    SELECT %3$s, '{}', op.now_ms,
           %4$s
      FROM %5$s AS o
    ON CONFLICT (%2$s) DO UPDATE
       SET _tags      = '{}',
           _latest    = greatest(EXCLUDED._latest, s._latest),
           _tombstone = EXCLUDED._tombstone;
    %6$s
    RETURN NULL;
END
$body$;
    -- The values of a tombstone must come out exactly, whatever the session has set. Each setting costs time
    -- at every call, so tables whose types do not depend on them go without.
    text_settings text := '';
BEGIN
    IF EXISTS (SELECT FROM electric.columns_of(tab)
                WHERE cast_type <> ALL ('{boolean,smallint,integer,bigint,numeric,text,character varying,bpchar,uuid,'
                                        'json,jsonb}'))
    THEN
        text_settings := 'SET DateStyle = ISO SET IntervalStyle = postgres SET extra_float_digits = 1 '
                         'SET bytea_output = hex';
    END IF;

    SELECT string_agg('k' || key_pos, ', ' ORDER BY key_pos),
           string_agg('n.' || name, ', ' ORDER BY key_pos),
           string_agg('o.' || name, ', ' ORDER BY key_pos),
           string_agg(format('coalesce(n.%1$s, o.%1$s)', name), ', ' ORDER BY key_pos),
           string_agg(format('n.%s %s o.%1$s', name, key_equal), ' AND ' ORDER BY key_pos),
           min(name) FILTER (WHERE key_pos = 1)
      INTO keys, new_keys, old_keys, either_keys, same_key, one_key
      FROM electric.columns_of(tab)
     WHERE key_pos IS NOT NULL;

    SELECT electric.array_by_num(array_agg(num), array_agg(format('o.%s::text', name)), 15),
           electric.array_by_num(
               array_agg(num + 1),
               array_agg(CASE WHEN key_pos IS NOT NULL OR generated THEN NULL
                              WHEN plain THEN format('CASE WHEN o.%1$s IS DISTINCT FROM n.%1$s THEN op.tag END', name)
                              ELSE format('CASE WHEN record_image_ne(ROW(o.%1$s), ROW(n.%1$s)) THEN op.tag END',
                                          name) END), 20),
           electric.array_by_num(
               1 || array_agg(num + 1),
               's._column_tags[1]'::text
               || array_agg(CASE WHEN key_pos IS NULL AND NOT generated THEN format(
                      'CASE WHEN EXCLUDED._column_tags[%1$s] IS NULL THEN s._column_tags[%1$s] '
                      'ELSE ROW(greatest(EXCLUDED._latest, s._latest), NULL)::electric.tag END', num + 1) END), 17)
      INTO tombstone, changed, merged
      FROM electric.columns_of(tab);

    PERFORM electric.create_trigger_function('on_insert_' || tab, '', format($body$
#variable_conflict use_column
<<op>>
DECLARE
    now_ms bigint         := electric.now_ms();
    tags   electric.tag[] := ARRAY[ROW(now_ms, NULL)::electric.tag];
BEGIN
    INSERT INTO %1$s AS s (%2$s, _tags, _latest, _column_tags)
    SELECT %3$s, op.tags, op.now_ms, op.tags
      FROM new_rows AS n
    ON CONFLICT (%2$s) DO UPDATE
       SET _tags        = ARRAY[ROW(greatest(EXCLUDED._latest, s._latest), NULL)::electric.tag],
           _latest      = greatest(EXCLUDED._latest, s._latest),
           _column_tags = ARRAY[ROW(greatest(EXCLUDED._latest, s._latest), NULL)::electric.tag],
           _tombstone   = NULL;
    RETURN NULL;
END
$body$, shadow::regclass, keys, new_keys));

    -- Old and new rows meet by key: a key on one side only was deleted or inserted by changing it.
    -- (A full join is never a nested loop, so a plan made for one row serves many without taking their square.)
    PERFORM electric.create_trigger_function('on_update_' || tab, text_settings, format($body$
#variable_conflict use_column
<<op>>
DECLARE
    now_ms bigint       := electric.now_ms();
    tag    electric.tag := ROW(now_ms, NULL);
BEGIN
    INSERT INTO %1$s AS s (%2$s, _tags, _latest, _column_tags, _tombstone)
    SELECT %3$s,
           CASE WHEN n.%4$s IS NULL THEN '{}' ELSE ARRAY[op.tag] END,
           op.now_ms,
           CASE WHEN n.%4$s IS NULL THEN NULL
                WHEN o.%4$s IS NULL THEN ARRAY[op.tag]
                ELSE %5$s::electric.tag[] END,
           CASE WHEN n.%4$s IS NULL THEN
               %6$s END
      FROM new_rows AS n
      FULL JOIN old_rows AS o ON %7$s
    ON CONFLICT (%2$s) DO UPDATE
       SET _tags        = CASE WHEN EXCLUDED._tags = '{}' THEN '{}'
                               ELSE ARRAY[ROW(greatest(EXCLUDED._latest, s._latest), NULL)::electric.tag] END,
           _latest      = greatest(EXCLUDED._latest, s._latest),
           _column_tags = CASE
               WHEN EXCLUDED._tags = '{}' THEN s._column_tags
               WHEN EXCLUDED._column_tags[1] IS NULL THEN
                 %8$s::electric.tag[]
               ELSE ARRAY[ROW(greatest(EXCLUDED._latest, s._latest), NULL)::electric.tag] END,
           _tombstone   = EXCLUDED._tombstone;
    RETURN NULL;
END
$body$, shadow::regclass, keys, either_keys, one_key, changed, tombstone, same_key, merged));

    PERFORM electric.create_trigger_function('on_delete_' || tab, text_settings,
                                             format(removal, shadow::regclass, keys, old_keys, tombstone, 'old_rows', ''));
    -- TRUNCATE leaves nothing of the rows in the WAL, so they are told before they go.
    PERFORM electric.create_trigger_function('on_truncate_' || tab, text_settings,
                                             format(removal, shadow::regclass, keys, old_keys, tombstone,
                                                    'ONLY ' || tab::regclass,
                                                    format('PERFORM electric.tell_truncated(%s);', tab)));
END
$$;

-- The triggers leave out what electric.apply_<oid> does while it applies a client's write: that is the table and the
-- depth which it has named in electric.applying. What users' triggers then do by themselves is deeper, and is a write
-- of Postgres. Triggers that exist stay, so that replacing the functions takes no lock on the table.
CREATE OR REPLACE FUNCTION electric.create_write_triggers(tab oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind    text;
    clauses text;
BEGIN
    FOR kind, clauses IN VALUES
        ('insert',   'AFTER INSERT ON %1$s REFERENCING NEW TABLE AS new_rows'),
        ('update',   'AFTER UPDATE ON %1$s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'),
        ('delete',   'AFTER DELETE ON %1$s REFERENCING OLD TABLE AS old_rows'),
        ('truncate', 'BEFORE TRUNCATE ON %1$s')
    LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = tab AND t.tgname = 'electric_' || kind);
        EXECUTE format('CREATE TRIGGER electric_%3$s ' || clauses || ' FOR EACH STATEMENT '
                       'WHEN (current_setting(''electric.applying'', true) '
                       'IS DISTINCT FROM ''%2$s/'' || pg_trigger_depth()::text) '
                       'EXECUTE FUNCTION electric.on_%3$s_%2$s()', tab::regclass, tab, kind);
    END LOOP;
END
$$;

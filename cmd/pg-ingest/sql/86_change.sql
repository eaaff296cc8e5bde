-- What may happen to an electrified table. Clients' tables can grow columns and indexes, and nothing else: SQLite has
-- no way back from a constraint, and a client may be away for months. So whatever clients could not follow is refused
-- here, before it is captured.
--
-- Definitions are compared, never the text of a command. What Postgres alone knows of a table carries "local": true in
-- its definition, so that it may go again: a constraint or a NOT NULL that came after its columns.

DO $$
BEGIN
    IF to_regclass('electric.ddl_commands_table') IS NULL THEN
        CREATE INDEX ddl_commands_table ON electric.ddl_commands ((definition ->> 'oid'), id);
    END IF;
END
$$;

-- The table as it was captured last. NULL: never.
CREATE OR REPLACE FUNCTION electric.captured_definition(tab oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.definition
      FROM electric.ddl_commands AS d
     WHERE d.definition ->> 'oid' = tab::text AND NOT d.definition ? 'removed'
     ORDER BY d.id DESC
     LIMIT 1
$$;

-- Columns before and now, side by side.
CREATE OR REPLACE FUNCTION electric.columns_compared(before jsonb, now jsonb)
RETURNS TABLE (was jsonb, becomes jsonb)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT b, n
      FROM jsonb_array_elements(before -> 'columns') AS b
      FULL JOIN jsonb_array_elements(now -> 'columns') AS n ON b -> 'num' = n -> 'num'
     ORDER BY coalesce(n -> 'num', b -> 'num')
$$;

-- What a constraint demands, whatever it and the table that it refers to are called.
CREATE OR REPLACE FUNCTION electric.demand(made jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT made - '{name,local,ref_schema,ref_table}'::text[]
$$;

-- Can SQLite give the column's default to the rows that are there when it comes? (Not what Postgres would write
-- otherwise: a char(n) is filled up, a number becomes money.)
CREATE OR REPLACE FUNCTION electric.has_constant_default(col jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT col ->> 'default'
           ~ '^(''([^'']|'''')*''|\(?-?[0-9.]+\)?|true|false|NULL)(::[^:()]+(\([0-9,]+\))?(\[\])*)?$'
       AND coalesce(col ->> 'base', col ->> 'type') <> 'bpchar'
       AND (col ->> 'default' !~ '^[(0-9.-]'
            OR col ->> 'category' IN ('N', 'S') AND coalesce(col ->> 'base', col ->> 'type') <> 'money')
$$;

-- What the rows that were there got in a column when it was added. NULL: nothing, or Postgres has written them anew.
CREATE OR REPLACE FUNCTION electric.missing_value(tab oid, was jsonb, becomes jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET DateStyle = ISO SET IntervalStyle = postgres SET TimeZone = 'UTC'
SET extra_float_digits = 1 SET bytea_output = hex AS $$
    SELECT CASE WHEN was ? 'missing' THEN jsonb_build_object('missing', was -> 'missing')
                WHEN was IS NULL THEN (SELECT jsonb_build_object('missing', (a.attmissingval::text::text[])[1])
                                         FROM pg_attribute AS a
                                        WHERE a.attrelid = tab AND a.attnum = (becomes ->> 'num')::integer
                                          AND a.atthasmissing) END
$$;

-- The table as it is now, with what is local by comparison with what was captured before (NULL: nothing was).
CREATE OR REPLACE FUNCTION electric.changed_definition(tab oid, before jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now jsonb := electric.table_definition(tab);
BEGIN
    IF before IS NULL THEN
        RETURN now;
    END IF;
    SELECT now || jsonb_build_object('columns', jsonb_agg(
               becomes || coalesce(electric.missing_value(tab, was, becomes), '{}')
               || CASE WHEN (becomes ->> 'not_null')::boolean
                            AND CASE WHEN was IS NULL THEN NOT coalesce(electric.has_constant_default(becomes), false)
                                     ELSE was ? 'local' OR NOT (was ->> 'not_null')::boolean END
                       THEN '{"local": true}'::jsonb ELSE '{}' END
               ORDER BY (becomes ->> 'num')::integer))
      INTO now
      FROM electric.columns_compared(before, now)
     WHERE becomes IS NOT NULL;
    RETURN now || jsonb_build_object('constraints', (
        SELECT coalesce(jsonb_agg(
                   CASE WHEN c ->> 'kind' <> 'p'
                             AND coalesce((SELECT b ? 'local' FROM jsonb_array_elements(before -> 'constraints') AS b
                                            WHERE electric.demand(b) = electric.demand(c) LIMIT 1),
                                          -- Clients were told of it with a column.
                                          NOT EXISTS (SELECT FROM electric.columns_compared(before, now)
                                                       WHERE was IS NULL AND c -> 'columns' ? (becomes ->> 'name')))
                        THEN c || '{"local": true}' ELSE c END ORDER BY pos), '[]')
          FROM jsonb_array_elements(now -> 'constraints') WITH ORDINALITY AS x (c, pos)));
END
$$;

CREATE OR REPLACE FUNCTION electric.refuse(message text, detail text, hint text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', message USING ERRCODE = 'feature_not_supported', DETAIL = detail, HINT = hint;
END
$$;

-- Refuses names that SQLite, or a client for its own tables, takes for others. SQLite does not tell apart upper and
-- lower case of ASCII, and knows no schemas.
CREATE OR REPLACE FUNCTION electric.check_names(now jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    full_name text := format('%I.%I', now ->> 'schema', now ->> 'name');
    names     text[];
    one       text;
    other     text;
BEGIN
    names := ARRAY(SELECT now ->> 'name' UNION ALL SELECT i ->> 'name' FROM jsonb_array_elements(now -> 'indexes') AS i);
    SELECT n INTO one FROM unnest(names) AS n WHERE n ~* '^(sqlite_|_electric_)' LIMIT 1;
    IF FOUND THEN
        PERFORM electric.refuse(format('the name %I cannot be used in electrified table %s', one, full_name),
                                'SQLite and its clients keep names that begin with sqlite_ or _electric_.',
                                'Give it another name.');
    END IF;
    SELECT n, format('%I.%I', d.definition ->> 'schema', d.definition ->> 'name') INTO one, other
      FROM (SELECT DISTINCT ON (definition ->> 'oid') definition FROM electric.ddl_commands
             WHERE NOT definition ? 'removed' ORDER BY definition ->> 'oid', id DESC) AS d
      JOIN unnest(names) AS n
        ON lower(d.definition ->> 'name') = lower(n)
           OR lower(n) IN (SELECT lower(i ->> 'name') FROM jsonb_array_elements(d.definition -> 'indexes') AS i)
     WHERE d.definition ->> 'oid' <> now ->> 'oid'
       AND (d.definition ->> 'schema', d.definition ->> 'name') <> (now ->> 'schema', now ->> 'name')
     LIMIT 1;
    IF FOUND THEN
        PERFORM electric.refuse(format('the name %I of electrified table %s is taken on clients', one, full_name),
                                format('Table %s has it; SQLite knows neither schemas nor case in names.', other),
                                'Give it another name.');
    END IF;
    SELECT string_agg(quote_ident(c ->> 'name'), ', ' ORDER BY c ->> 'num') INTO one
      FROM jsonb_array_elements(now -> 'columns') AS c GROUP BY lower(c ->> 'name') HAVING count(*) > 1 LIMIT 1;
    IF FOUND THEN
        PERFORM electric.refuse(format('columns %s of table %s differ in case only', one, full_name),
                                'SQLite takes them for one.', 'Give them other names.');
    END IF;
END
$$;

-- Refuses columns that cannot be told to a client.
CREATE OR REPLACE FUNCTION electric.check_columns(now jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    full_name text := format('%I.%I', now ->> 'schema', now ->> 'name');
    refused   text;
BEGIN
    SELECT string_agg(format('%I (%s)', c ->> 'name', c ->> 'type'), ', ' ORDER BY (c ->> 'num')::integer) INTO refused
      FROM jsonb_array_elements(now -> 'columns') AS c
     WHERE coalesce(c ->> 'base', c ->> 'type') IN (SELECT electric.refused_types())
        OR ltrim(coalesce(c ->> 'base', c ->> 'type'), '_') IN (SELECT electric.refused_types())
           AND c ->> 'category' = 'A';
    IF refused IS NOT NULL THEN
        PERFORM electric.refuse(format('table %s has columns of types that cannot be synced: %s', full_name, refused),
                                'Their values name objects of this database, or its transactions.',
                                'Use text or bigint, or keep them in a table of their own.');
    END IF;
    SELECT c ->> 'name' INTO refused FROM jsonb_array_elements(now -> 'columns') AS c
     WHERE c ->> 'generated' IS NOT NULL AND now -> 'pks' ? (c ->> 'name') LIMIT 1;
    IF refused IS NOT NULL THEN
        PERFORM electric.refuse(format('column %I of the primary key of table %s is generated', refused, full_name),
                                'SQLite has no such keys.', 'Use a primary key of ordinary columns.');
    END IF;
END
$$;

-- Types whose values mean something in this database only.
CREATE OR REPLACE FUNCTION electric.refused_types() RETURNS SETOF text
LANGUAGE sql IMMUTABLE AS $$
    VALUES ('refcursor'), ('tid'), ('cid'), ('xid'), ('xid8'), ('pg_snapshot'), ('txid_snapshot')
$$;

-- Refuses a change that clients cannot follow. The first words of the messages are what users' scripts know.
CREATE OR REPLACE FUNCTION electric.check_change(before jsonb, now jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    full_name text := format('%I.%I', before ->> 'schema', before ->> 'name');
    new_name  text := format('%I.%I', now ->> 'schema', now ->> 'name');
    was       jsonb;
    becomes   jsonb;
    made      jsonb;
BEGIN
    IF before ->> 'name' <> now ->> 'name' THEN
        PERFORM electric.refuse('renaming electrified table ' || full_name,
                                format('It would become %s, and clients know it by its name.', new_name),
                                'Create and electrify a table of the new name, and copy the rows.');
    ELSIF before ->> 'schema' <> now ->> 'schema' THEN
        PERFORM electric.refuse('moving electrified table ' || full_name,
                                format('It would become %s, and clients subscribe to it where it is.', new_name),
                                'Leave the table in its schema.');
    END IF;

    FOR was, becomes IN SELECT * FROM electric.columns_compared(before, now) LOOP
        IF becomes IS NULL THEN
            PERFORM electric.refuse(
                format('dropping column electrified table %s.%I', full_name, was ->> 'name'),
                'Clients that are offline may still write it.',
                'Make it nullable before you electrify, stop using it, and leave it in place.');
        ELSIF was IS NULL THEN
            IF (becomes ->> 'not_null')::boolean AND becomes ->> 'default' IS NULL AND becomes ->> 'generated' IS NULL
               AND coalesce(becomes ->> 'identity', '') = '' THEN
                PERFORM electric.refuse(
                    format('adding column NOT NULL without DEFAULT to electrified table %s.%I', full_name,
                           becomes ->> 'name'),
                    'SQLite adds no such column: it would not know what the rows of clients have in it.',
                    'Give it a DEFAULT, or leave out NOT NULL.');
            END IF;
            IF EXISTS (SELECT FROM jsonb_array_elements(now -> 'constraints') AS c
                        WHERE c ->> 'kind' = 'u' AND c -> 'columns' ? (becomes ->> 'name')) THEN
                PERFORM electric.refuse(
                    format('adding column with a UNIQUE constraint to electrified table %s.%I', full_name,
                           becomes ->> 'name'),
                    'You cannot add a column with a UNIQUE constraint in SQLite.',
                    'Add the column alone, then CREATE UNIQUE INDEX.');
            END IF;
        ELSIF was ->> 'name' <> becomes ->> 'name' THEN
            PERFORM electric.refuse(
                format('modifying column of electrified table %s.%I', full_name, becomes ->> 'name'),
                format('Column %I would be renamed to %I, and clients know it by its name.', was ->> 'name',
                       becomes ->> 'name'),
                'Add a column of the new name, and keep the old one until no client uses it.');
        ELSIF was -> 'type_oid' <> becomes -> 'type_oid' OR was -> 'size' <> becomes -> 'size' THEN
            PERFORM electric.refuse(
                'Column type change is not an additive migration',
                format('Column %s.%I has another type on clients.', full_name, was ->> 'name'),
                'Add a column of the new type.');
        ELSIF (was ->> 'generated' IS NULL) <> (becomes ->> 'generated' IS NULL) THEN
            PERFORM electric.refuse(
                format('modifying column of electrified table %s.%I', full_name, becomes ->> 'name'),
                'On clients it is generated, or is not, as it was.', 'Add another column.');
        ELSIF (was ->> 'not_null')::boolean AND NOT was ? 'local' AND NOT (becomes ->> 'not_null')::boolean THEN
            PERFORM electric.refuse(
                format('dropping NOT NULL of electrified table %s.%I', full_name, becomes ->> 'name'),
                'SQLite cannot drop it: clients would fail at the first row without a value.',
                'Add another column that is nullable.');
        END IF;
    END LOOP;

    IF before -> 'pks' <> now -> 'pks' THEN
        PERFORM electric.refuse('changing the primary key of electrified table ' || full_name,
                                'It is how clients know which row is which.',
                                'Create and electrify another table with the new key, and copy the rows.');
    END IF;
    SELECT b INTO made
      FROM jsonb_array_elements(before -> 'constraints') AS b
     WHERE NOT b ? 'local'
       AND NOT EXISTS (SELECT FROM jsonb_array_elements(now -> 'constraints') AS n
                        WHERE electric.demand(n) = electric.demand(b))
       -- Clients have a foreign key between synced tables only.
       AND (b ->> 'kind' <> 'f' OR EXISTS (SELECT FROM electric.electrified AS e
                                            WHERE (e.schema_name, e.table_name) = (b ->> 'ref_schema', b ->> 'ref_table')))
     LIMIT 1;
    IF FOUND THEN
        PERFORM electric.refuse(format('dropping constraint %I of electrified table %s', made ->> 'name', full_name),
                                'SQLite cannot drop it: clients would fail at the first row that it forbids.',
                                'Only a constraint that was added after the table was electrified can be dropped.');
    END IF;
END
$$;

-- Refuses what no definition tells, and electrify has seen to.
CREATE OR REPLACE FUNCTION electric.check_state(tab oid) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c         pg_class;
    full_name text;
BEGIN
    SELECT t.* INTO c FROM pg_class AS t WHERE t.oid = tab;
    full_name := format('%s.%I', c.relnamespace::regnamespace, c.relname);
    IF c.relreplident <> 'f' THEN
        PERFORM electric.refuse('changing the replica identity of electrified table ' || full_name,
                                'Old rows would be missing in what clients get.', 'Leave it FULL.');
    ELSIF c.relpersistence <> 'p' THEN
        PERFORM electric.refuse('electrified table ' || full_name || ' cannot be unlogged',
                                'What is not in the WAL reaches no client.', 'Leave it logged.');
    ELSIF c.relispartition OR EXISTS (SELECT FROM pg_inherits AS i WHERE tab IN (i.inhrelid, i.inhparent)) THEN
        PERFORM electric.refuse('electrified table ' || full_name || ' cannot take part in inheritance',
                                'Partitions and tables with inheritance cannot be synced.',
                                'Keep the rows in a table of its own.');
    END IF;
END
$$;

-- Takes note of what was done to an electrified table: refuses it, or captures it if clients are to know. Event triggers
-- call this; without them, whoever alters the table does, in the same transaction.
CREATE OR REPLACE FUNCTION electric.table_changed(tab oid, query text DEFAULT current_query()) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before jsonb := electric.captured_definition(tab);
    now    jsonb := electric.changed_definition(tab, before);
    filled jsonb;
BEGIN
    PERFORM electric.check_state(tab);
    IF before IS NOT DISTINCT FROM now THEN
        RETURN;
    END IF;
    PERFORM electric.check_change(before, now);
    PERFORM electric.check_names(now);
    PERFORM electric.check_columns(now);
    PERFORM electric.refresh(tab);
    PERFORM electric.capture_ddl(tab, query);

    -- What Postgres has computed for the rows that were there: clients cannot.
    SELECT jsonb_agg(becomes -> 'num') INTO filled
      FROM electric.columns_compared(before, now)
     WHERE was IS NULL AND becomes ->> 'generated' IS NULL
       AND (becomes ->> 'identity' <> ''
            OR CASE WHEN becomes ->> 'default' IS NULL THEN
                         EXISTS (SELECT FROM pg_type AS t   -- a domain's
                                  WHERE t.oid = (becomes ->> 'type_oid')::oid AND t.typdefaultbin IS NOT NULL)
                    ELSE NOT becomes ? 'missing' OR NOT electric.has_constant_default(becomes)
                         -- SQLite adds no column that refers to another and has a default.
                         OR EXISTS (SELECT FROM jsonb_array_elements(now -> 'constraints') AS c
                                     WHERE c ->> 'kind' = 'f' AND c -> 'columns' ? (becomes ->> 'name')) END);
    IF filled IS NOT NULL THEN
        PERFORM electric.tell_rows(tab, filled);
    END IF;
END
$$;

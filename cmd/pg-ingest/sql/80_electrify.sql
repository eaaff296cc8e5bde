-- CALL electric.electrify(table): from now on the table is synced.

-- Finds the table that a user means:
--   ('my_table')               found on the search_path, taken literally
--   ('my_schema', 'my_table')  taken literally
--   ('my_schema.my_table')     a dot makes it SQL: unquoted parts fold to lower case
CREATE OR REPLACE FUNCTION electric.resolve_table(name1 text, name2 text) RETURNS oid
LANGUAGE plpgsql STABLE AS $$
DECLARE
    parts text[];
    found oid;
BEGIN
    IF name1 IS NULL THEN
        RAISE EXCEPTION 'no valid table name given';
    ELSIF name2 IS NOT NULL THEN
        parts := ARRAY[name1, name2];
    ELSIF strpos(name1, '.') = 0 THEN
        parts := ARRAY[name1];
    ELSE
        parts := parse_ident(name1);
    END IF;

    IF cardinality(parts) > 2 THEN
        RAISE EXCEPTION 'invalid table name given %', name1;
    END IF;

    SELECT c.oid
      INTO found
      FROM unnest(CASE cardinality(parts) WHEN 2 THEN parts[1:1] ELSE current_schemas(true)::text[] END)
           WITH ORDINALITY AS s (name, pos)
      JOIN pg_catalog.pg_namespace AS n ON n.nspname = s.name
      JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = parts[cardinality(parts)]
     ORDER BY s.pos
     LIMIT 1;

    IF found IS NULL AND EXISTS (
        SELECT FROM pg_catalog.pg_class AS c
         WHERE c.relnamespace = 'electric'::pg_catalog.regnamespace AND c.relname = parts[2])
    THEN
        RAISE EXCEPTION 'relation "%" does not exist', array_to_string(parts, '.')
            USING ERRCODE = 'undefined_table',
                  HINT = format('There is a table %I in the schema electric: a role named electric has that schema '
                                'first on its search_path. Set search_path to public and create the table there.',
                                parts[2]);
    ELSIF found IS NULL THEN
        RAISE EXCEPTION 'relation "%" does not exist', array_to_string(parts, '.') USING ERRCODE = 'undefined_table';
    END IF;
    RETURN found;
END
$$;

-- Refuses what cannot be synced, with the reason.
CREATE OR REPLACE FUNCTION electric.check_table(tab oid) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c      pg_class;
    name   text;
    before jsonb;
BEGIN
    SELECT t.* INTO c FROM pg_class AS t WHERE t.oid = tab;
    name := format('%s.%I', c.relnamespace::regnamespace, c.relname);

    IF c.relnamespace = 'electric'::regnamespace THEN
        RAISE EXCEPTION 'table % is in the schema electric, which is kept for the sync service itself', name
            USING HINT = 'A role named electric has that schema first on its search_path, so its CREATE TABLE without '
                         'a schema lands there. Set search_path to public and create the table again.';
    ELSIF c.relkind <> 'r' THEN
        RAISE EXCEPTION '% is not an ordinary table', name USING ERRCODE = 'wrong_object_type';
    ELSIF c.relispartition OR EXISTS (SELECT FROM pg_inherits AS i WHERE tab IN (i.inhrelid, i.inhparent)) THEN
        RAISE EXCEPTION '% is not an ordinary table', name
            USING ERRCODE = 'wrong_object_type', DETAIL = 'Partitions and tables with inheritance cannot be synced.';
    ELSIF c.relpersistence <> 'p' THEN
        RAISE EXCEPTION '% is not an ordinary table', name
            USING ERRCODE = 'wrong_object_type', DETAIL = 'Temporary and unlogged tables cannot be synced.';
    ELSIF EXISTS (SELECT FROM electric.electrified AS e WHERE e.oid = tab) THEN
        RAISE EXCEPTION 'table % is already electrified', name;
    ELSIF NOT EXISTS (SELECT FROM pg_constraint AS p WHERE p.conrelid = tab AND p.contype = 'p') THEN
        RAISE EXCEPTION 'table % has no primary key, which electrify requires', name;
    END IF;
    PERFORM electric.check_names(electric.table_definition(tab));
    PERFORM electric.check_columns(electric.table_definition(tab));
    before := electric.captured_definition(tab);
    IF before IS NOT NULL THEN
        -- Clients have it from when it was electrified before.
        PERFORM electric.check_change(before, electric.changed_definition(tab, before));
    END IF;
END
$$;

-- Makes the code of a table anew, after its columns or their defaults changed.
CREATE OR REPLACE FUNCTION electric.refresh(tab oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shadow_table oid;
BEGIN
    UPDATE electric.electrified AS e
       SET schema_name = n.nspname, table_name = c.relname
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE e.oid = tab AND c.oid = tab AND (e.schema_name, e.table_name) <> (n.nspname, c.relname);

    SELECT e.shadow INTO shadow_table FROM electric.electrified AS e WHERE e.oid = tab FOR UPDATE;
    IF shadow_table IS NULL THEN
        RAISE EXCEPTION 'table % is not electrified', tab::regclass;
    END IF;
    PERFORM electric.create_write_functions(tab, shadow_table);
    PERFORM electric.create_apply_function(tab, shadow_table);
    PERFORM electric.create_apply_all_function(tab, shadow_table);
    PERFORM electric.create_repair_function(tab, shadow_table);
    IF electric.is_one_of_several() THEN
        PERFORM electric.create_merge_functions(tab, shadow_table);
    END IF;
    PERFORM electric.create_write_triggers(tab);
END
$$;

-- The functions that were generated for a table.
CREATE OR REPLACE FUNCTION electric.functions_of(tab oid) RETURNS SETOF regprocedure
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.oid::regprocedure
      FROM pg_proc AS p
     WHERE p.pronamespace = 'electric'::regnamespace
       AND p.proname IN ('on_insert_' || tab, 'on_update_' || tab, 'on_delete_' || tab, 'on_truncate_' || tab,
                         'apply_' || tab, 'apply_all_' || tab, 'merge_' || tab, 'merge_all_' || tab, 'repair_' || tab)
$$;

-- Removes what is left of a table that was dropped.
CREATE OR REPLACE FUNCTION electric.forget(tab oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    left_over    regprocedure;
    shadow_table oid;
BEGIN
    DELETE FROM electric.electrified AS e WHERE e.oid = tab RETURNING e.shadow INTO shadow_table;
    FOR left_over IN SELECT * FROM electric.functions_of(tab) LOOP
        EXECUTE format('DROP FUNCTION %s', left_over);
    END LOOP;
    EXECUTE format('DROP TABLE %s', shadow_table::regclass);
END
$$;

-- Whoever electrifies, what is made belongs to the owner of the schema, who will have to replace it.
CREATE OR REPLACE FUNCTION electric.hand_over(tab oid, shadow oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner regrole;
    made  regprocedure;
BEGIN
    SELECT n.nspowner INTO owner FROM pg_namespace AS n WHERE n.nspname = 'electric';
    IF owner::text = quote_ident(current_user) THEN
        RETURN;
    END IF;
    EXECUTE format('ALTER TABLE %s OWNER TO %s', shadow::regclass, owner);
    FOR made IN SELECT * FROM electric.functions_of(tab) LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO %s', made, owner);
    END LOOP;
END
$$;

CREATE OR REPLACE PROCEDURE electric.electrify(name1 text, name2 text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
    tab         oid := electric.resolve_table(name1, name2);
    tab_schema  text;
    tab_name    text;
    shadow      oid;
    dropped     oid;
BEGIN
    PERFORM electric.check_table(tab);
    SELECT n.nspname, c.relname INTO tab_schema, tab_name
      FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = tab;

    RAISE NOTICE 'Electrify table %', format('%I.%I', tab_schema, tab_name);
    EXECUTE format('ALTER TABLE %I.%I REPLICA IDENTITY FULL', tab_schema, tab_name);
    -- Again, now that the lock keeps others from electrifying or altering it.
    PERFORM electric.check_table(tab);

    FOR dropped IN
        SELECT e.oid FROM electric.electrified AS e
         WHERE e.schema_name = tab_schema AND e.table_name = tab_name
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = e.oid)
    LOOP
        PERFORM electric.forget(dropped);
    END LOOP;

    shadow := electric.create_shadow_table(tab);
    INSERT INTO electric.electrified (schema_name, table_name, oid, shadow) VALUES (tab_schema, tab_name, tab, shadow);
    PERFORM electric.refresh(tab);
    PERFORM electric.hand_over(tab, shadow);

    IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication_rel AS r
                     JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
                    WHERE p.pubname = 'electric_publication' AND r.prrelid = tab)
    THEN
        EXECUTE format('ALTER PUBLICATION electric_publication ADD TABLE %I.%I', tab_schema, tab_name);
    END IF;
    PERFORM electric.capture_ddl(tab, electric.table_as_sql(tab));
    IF electric.is_one_of_several() THEN
        PERFORM electric.retell(tab, NULL);
    END IF;
END
$$;

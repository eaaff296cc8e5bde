-- CALL electric.unelectrify(table): from now on the table is Postgres' alone. Clients keep the rows that they have, and
-- are refused the subscriptions that they ask for; what they still write to it is refused.

CREATE OR REPLACE PROCEDURE electric.unelectrify(name1 text, name2 text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
    tab       oid := electric.resolve_table(name1, name2);
    full_name text;
    synced    electric.electrified;
    one       text;
BEGIN
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) INTO full_name
      FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = tab;
    -- Before anything is read of it: no transaction that writes it is under way.
    EXECUTE pg_catalog.format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', full_name);
    SELECT * INTO synced FROM electric.electrified AS e WHERE e.oid = tab;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not electrified', full_name;
    END IF;
    SELECT pg_catalog.string_agg(c.conrelid::pg_catalog.regclass::text, ', ') INTO one
      FROM pg_catalog.pg_constraint AS c JOIN electric.electrified AS e ON e.oid = c.conrelid
     WHERE c.contype = 'f' AND c.confrelid = tab AND c.conrelid <> tab;
    IF one IS NOT NULL THEN
        RAISE EXCEPTION 'table % is referred to by electrified tables: %', full_name, one
            USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Take those out first.';
    END IF;

    RAISE NOTICE 'Unelectrify table %', full_name;
    INSERT INTO electric.ddl_commands (txid, txts, version, query, definition)
    SELECT m.txid, m.txts, m.version, pg_catalog.current_query(), pg_catalog.jsonb_build_object(
               'oid', tab::bigint, 'schema', synced.schema_name, 'name', synced.table_name, 'removed', true)
      FROM electric.current_migration_version() AS m;
    DELETE FROM electric.electrified AS e WHERE e.oid = tab;

    FOR one IN SELECT t.tgname FROM pg_catalog.pg_trigger AS t
                WHERE t.tgrelid = tab AND t.tgname IN ('electric_insert', 'electric_update', 'electric_delete',
                                                       'electric_truncate')
    LOOP
        EXECUTE pg_catalog.format('DROP TRIGGER %I ON %s', one, full_name);
    END LOOP;
    FOR one IN SELECT f::text FROM electric.functions_of(tab) AS f LOOP
        EXECUTE pg_catalog.format('DROP FUNCTION %s', one);
    END LOOP;
    EXECUTE pg_catalog.format('DROP TABLE %s', synced.shadow::pg_catalog.regclass);
    EXECUTE pg_catalog.format('ALTER PUBLICATION electric_publication DROP TABLE ONLY %s', full_name);
    EXECUTE pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', full_name);
END
$$;

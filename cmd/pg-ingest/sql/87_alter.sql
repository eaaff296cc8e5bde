-- ALTER TABLE and CREATE INDEX on an electrified table: captured from what they did to the table, not from their text.
--
-- Only a superuser may make event triggers. Without one, whoever alters an electrified table calls
-- electric.refresh(oid) and electric.capture_ddl(oid, text) in the same transaction.

CREATE OR REPLACE FUNCTION electric.on_ddl_end() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tab oid;
    before jsonb;
BEGIN
    FOR tab IN
        SELECT DISTINCT e.oid
          FROM pg_event_trigger_ddl_commands() c
          LEFT JOIN pg_index i ON i.indexrelid = c.objid
          JOIN electric.electrified e ON e.oid IN (c.objid, i.indrelid)
    LOOP
        SELECT d.definition INTO before FROM electric.ddl_commands d
         WHERE (d.definition ->> 'oid')::oid = tab ORDER BY d.id DESC LIMIT 1;
        -- electrify itself alters the table before it captures it; much else changes nothing that clients know of.
        IF before IS NOT NULL AND before IS DISTINCT FROM electric.table_definition(tab) THEN
            PERFORM electric.refresh(tab);
            PERFORM electric.capture_ddl(tab, current_query());
        END IF;
    END LOOP;
END $$;

DO $$
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
       AND NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'electric_event_trigger_ddl_end') THEN
        CREATE EVENT TRIGGER electric_event_trigger_ddl_end ON ddl_command_end
            WHEN TAG IN ('ALTER TABLE', 'CREATE INDEX')
            EXECUTE FUNCTION electric.on_ddl_end();
    END IF;
END $$;

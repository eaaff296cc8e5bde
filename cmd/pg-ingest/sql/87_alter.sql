-- What is done to electrified tables is seen by event triggers, which tell what a command did: it may be one of many in
-- a string, or stand in a function or a DO block. They run as their owner and pass over whatever is not electrified,
-- so that nobody needs a right on this schema for a table of his own.
--
-- Only a superuser may make event triggers. Without them nothing is refused, and whoever alters an electrified table
-- calls electric.table_changed(oid) in the same transaction.

CREATE OR REPLACE FUNCTION electric.on_ddl_end() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tab oid;
BEGIN
    FOR tab IN
        SELECT DISTINCT e.oid
          FROM pg_event_trigger_ddl_commands() AS c
          LEFT JOIN pg_index AS i ON c.classid = 'pg_class'::regclass AND i.indexrelid = c.objid
          LEFT JOIN pg_inherits AS h ON c.classid = 'pg_class'::regclass AND h.inhrelid = c.objid
          LEFT JOIN pg_class AS t ON c.classid = 'pg_namespace'::regclass AND t.relnamespace = c.objid
          JOIN electric.electrified AS e
            ON e.oid IN (i.indrelid, h.inhparent, t.oid) OR c.classid = 'pg_class'::regclass AND e.oid = c.objid
         ORDER BY e.oid
    LOOP
        PERFORM electric.table_changed(tab, current_query());
    END LOOP;
END
$$;

-- What was dropped is gone by now: its name says whose it was.
CREATE OR REPLACE FUNCTION electric.on_sql_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dropped record;
    tab     oid;
BEGIN
    FOR dropped IN
        SELECT e.*, d.objsubid, d.address_names[3] AS part
          FROM pg_event_trigger_dropped_objects() AS d
          JOIN electric.electrified AS e ON d.classid = 'pg_class'::regclass AND d.objid = e.oid
         ORDER BY e.oid, d.objsubid
    LOOP
        IF dropped.objsubid = 0 THEN
            PERFORM electric.refuse(format('dropping electrified table %I.%I', dropped.schema_name, dropped.table_name),
                                    'Clients keep the table, and may still write it.',
                                    format('First take it out: CALL electric.unelectrify(%L, %L).',
                                           dropped.schema_name, dropped.table_name));
        END IF;
        PERFORM electric.refuse(format('dropping column electrified table %I.%I.%I', dropped.schema_name,
                                       dropped.table_name, dropped.part),
                                'Clients that are offline may still write it.',
                                'Stop using it, and leave it in place.');
    END LOOP;

    FOR tab IN
        SELECT DISTINCT e.oid
          FROM pg_event_trigger_dropped_objects() AS d
          JOIN electric.electrified AS e
            ON d.object_type IN ('table constraint', 'default value')
               AND (e.schema_name, e.table_name) = (d.address_names[1], d.address_names[2])
            OR d.object_type = 'index' AND e.schema_name = d.schema_name
               AND electric.captured_definition(e.oid) -> 'indexes'
                   @> jsonb_build_array(jsonb_build_object('name', d.object_name))
         ORDER BY e.oid
    LOOP
        PERFORM electric.table_changed(tab, current_query());
    END LOOP;
END
$$;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;
    -- An earlier version looked at some commands only.
    IF EXISTS (SELECT FROM pg_event_trigger
                WHERE evtname = 'electric_event_trigger_ddl_end' AND evttags IS NOT NULL) THEN
        DROP EVENT TRIGGER electric_event_trigger_ddl_end;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'electric_event_trigger_ddl_end') THEN
        CREATE EVENT TRIGGER electric_event_trigger_ddl_end ON ddl_command_end EXECUTE FUNCTION electric.on_ddl_end();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'electric_event_trigger_sql_drop') THEN
        CREATE EVENT TRIGGER electric_event_trigger_sql_drop ON sql_drop EXECUTE FUNCTION electric.on_sql_drop();
    END IF;
END
$$;

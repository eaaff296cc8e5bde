-- A version that is installed for the first time makes the code of all electrified tables anew.

DO $$
DECLARE
    this_version CONSTANT integer := pg_catalog.current_setting('electric.installing');
BEGIN
    IF NOT EXISTS (SELECT FROM electric.schema_version WHERE version = this_version) THEN
        PERFORM electric.refresh(e.oid)
           FROM electric.electrified AS e
          WHERE EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = e.oid);
        INSERT INTO electric.schema_version (version) VALUES (this_version);
    END IF;
END
$$;

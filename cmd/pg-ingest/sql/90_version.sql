-- The version of all that stands in these files. Raise it with every change to generated code: a new version makes
-- the code of all electrified tables anew, once.

DO $$
DECLARE
    this_version CONSTANT integer := 9;
BEGIN
    IF NOT EXISTS (SELECT FROM electric.schema_version WHERE version = this_version) THEN
        PERFORM electric.refresh(e.oid)
           FROM electric.electrified AS e
          WHERE EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = e.oid);
        INSERT INTO electric.schema_version (version) VALUES (this_version);
    END IF;
END
$$;

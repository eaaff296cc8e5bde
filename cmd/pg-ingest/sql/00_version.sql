-- The version of all that stands in these files. Raise it with every change to generated code: a new version makes the
-- code of all electrified tables anew, once (see the last file). What a newer service has installed is left alone.

DO $$
DECLARE
    this_version CONSTANT integer := 12;
    newest       integer;
BEGIN
    PERFORM pg_catalog.set_config('electric.installing', this_version::text, true);
    IF pg_catalog.to_regclass('electric.schema_version') IS NOT NULL THEN
        SELECT max(version) INTO newest FROM electric.schema_version;
        IF newest > this_version THEN
            RAISE EXCEPTION 'a newer service has installed version % of the schema "electric"; this one knows version %',
                newest, this_version USING ERRCODE = 'LE004';
        END IF;
    END IF;
END
$$;

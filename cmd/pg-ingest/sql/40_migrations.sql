-- Versions of migrations: given by the user once in a transaction, or made from its time.

CREATE OR REPLACE FUNCTION electric.migration_version(
    v text, OUT txid xid8, OUT txts timestamptz, OUT version text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO electric.migration_versions AS m (txid, txts, version)
    VALUES (pg_catalog.pg_current_xact_id(), pg_catalog.transaction_timestamp(), $1)
    RETURNING m.txid, m.txts, m.version
    INTO $2, $3, $4;
END
$$;

-- The version of this transaction, assigned now if it has none. UTC, so that versions sort in the order of time.
CREATE OR REPLACE FUNCTION electric.current_migration_version(
    OUT txid xid8, OUT txts timestamptz, OUT version text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    SELECT m.txid, m.txts, m.version
      INTO $1, $2, $3
      FROM electric.migration_versions AS m
     WHERE m.txid = pg_catalog.pg_current_xact_id() AND m.txts = pg_catalog.transaction_timestamp();
    IF FOUND THEN
        RETURN;
    END IF;
    $3 := to_char(transaction_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS_FF3');
    -- Clients take digits and underscores only.
    $3 := regexp_replace($3, '[^0-9_]', '', 'g');
    RAISE WARNING 'assigning automatic migration version id: %', $3;
    BEGIN
        SELECT m.txid, m.txts, m.version INTO $1, $2, $3 FROM electric.migration_version($3) AS m;
    EXCEPTION
        WHEN unique_violation THEN   -- by another transaction of this millisecond
            SELECT m.txid, m.txts, m.version INTO $1, $2, $3
              FROM electric.migration_version($3 || '_' || pg_catalog.pg_current_xact_id()) AS m;
    END;
END
$$;

-- Tells the stream what a table looks like from this transaction on.
CREATE OR REPLACE FUNCTION electric.capture_ddl(tab oid, query text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    new_id bigint;
BEGIN
    INSERT INTO electric.ddl_commands AS c (txid, txts, version, query, definition, carry)
    SELECT m.txid, m.txts, m.version, $2, electric.changed_definition($1, electric.captured_definition($1)),
           CASE WHEN electric.is_one_of_several() THEN electric.carry($1) END
      FROM electric.current_migration_version() AS m
    RETURNING c.id INTO new_id;
    RETURN new_id;
END
$$;

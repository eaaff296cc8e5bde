-- Logical publication: Postgres subscribes to pg-publish, whose one table is this one. A row is a client's transaction;
-- none is ever stored: its trigger applies the transaction in its place.

CREATE TABLE IF NOT EXISTS electric.incoming (
    life       text,     -- of the log of writes
    position   bigint,   -- in it
    own        text,     -- the origin of this Postgres' own writes
    mark       bytea,    -- what marks the transaction in the WAL
    client_id  text,
    user_id    text,
    lsn        bytea,    -- the client's own
    written_ms bigint,   -- by the client's clock
    operations text,     -- JSON; not of that type, so that nothing is refused before the trigger runs
    sqlstate   text,     -- '', or what is wrong with it already
    fault      text
);

-- Will it pass? Then it is no fault of the client's transaction. pg-publish has the same list for direct writes.
CREATE OR REPLACE FUNCTION electric.is_passing(code text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT code IN ('40001', '40P01', '55P03', '25006', '57014') OR code ~ '^(08|53|57P|58|XX)'
$$;

-- What a subscription's worker runs counts as replicated: users' triggers and foreign keys would be left out. A
-- client's write is an ordinary one, so the role is set back for the transaction.
CREATE OR REPLACE FUNCTION electric.apply_incoming() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET timezone = 'UTC' AS $$
DECLARE
    code text;
    why  text;
    op   jsonb;
BEGIN
    IF NEW.position <= (SELECT p.position FROM electric.publish_progress AS p WHERE p.id = NEW.life) THEN
        RETURN NULL;
    END IF;
    IF current_setting('session_replication_role') <> 'origin' THEN
        PERFORM set_config('session_replication_role', 'origin', true);
    END IF;
    PERFORM set_config('electric.user_id', NEW.user_id, true), pg_logical_emit_message(true, 'electric', NEW.mark);
    BEGIN
        IF NEW.sqlstate <> '' THEN
            RAISE EXCEPTION '%', NEW.fault USING ERRCODE = NEW.sqlstate;
        END IF;
        PERFORM electric.apply_operations(NEW.client_id, NEW.written_ms, NEW.own, NEW.operations::jsonb);
        SET CONSTRAINTS ALL IMMEDIATE;
    EXCEPTION
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, why = MESSAGE_TEXT;
            IF electric.is_passing(code) THEN
                RAISE;
            END IF;
    END;
    IF code IS NOT NULL THEN
        INSERT INTO electric.rejected_writes (client_id, lsn, user_id, sqlstate, message, operations, written_ms)
        VALUES (NEW.client_id, NEW.lsn, NEW.user_id, code, why, NEW.operations::jsonb, NEW.written_ms);
        FOR op IN SELECT * FROM jsonb_array_elements(NEW.operations::jsonb) LOOP
            PERFORM electric.repair(NEW.client_id, (op ->> 'relation')::oid, electric.operation_values(op),
                                    op ->> 'kind' = 'delete');
        END LOOP;
    END IF;
    INSERT INTO electric.publish_progress AS p (id, position) VALUES (NEW.life, NEW.position)
    ON CONFLICT (id) DO UPDATE SET position = excluded.position;
    RETURN NULL;
END
$$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
                    WHERE t.tgrelid = 'electric.incoming'::regclass AND t.tgname = 'apply_incoming') THEN
        CREATE TRIGGER apply_incoming BEFORE INSERT ON electric.incoming
            FOR EACH ROW EXECUTE FUNCTION electric.apply_incoming();
        ALTER TABLE electric.incoming ENABLE ALWAYS TRIGGER apply_incoming;
    END IF;
END
$$;

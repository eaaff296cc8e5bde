-- The schema "electric": the type of a tag, the tables that Leyden keeps, and the publication that it streams.

CREATE SCHEMA IF NOT EXISTS electric;

-- A tag says who wrote and when: milliseconds since 1970, and a source that is NULL for this Postgres itself.
-- Two tags compare as records do: by ms, then by source in byte order, NULL (Postgres) above every name.
DO $$
BEGIN
    IF to_regtype('electric.tag') IS NULL THEN
        CREATE TYPE electric.tag AS (ms bigint, source text COLLATE "C");
    END IF;
END
$$;

-- For tables that an earlier version has made. What is there is not locked: a start waits for no transaction, and none
-- for it.
CREATE OR REPLACE PROCEDURE electric.add_column(tab text, name text, definition text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = $1::regclass AND attname = $2 AND NOT attisdropped) THEN
        EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', $1, $2, $3);
    END IF;
END
$$;

-- One row for each version of this schema that was installed; see the last file.
CREATE TABLE IF NOT EXISTS electric.schema_version (
    version      integer     PRIMARY KEY,
    installed_at timestamptz NOT NULL DEFAULT transaction_timestamp()
);

-- The version that a transaction gave to its migration. The names of the constraints reach users as error texts.
CREATE TABLE IF NOT EXISTS electric.migration_versions (
    txid    xid8         NOT NULL,
    txts    timestamptz  NOT NULL,
    version varchar(255) NOT NULL,
    CONSTRAINT migration_versions_pkey  PRIMARY KEY (txid, txts),
    CONSTRAINT migration_unique_version UNIQUE (version),
    CONSTRAINT migration_unique_fk      UNIQUE (txid, txts, version)
);

-- What a migration did to a table: a text for people, and the table as it is since then.
CREATE TABLE IF NOT EXISTS electric.ddl_commands (
    id         bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    txid       xid8         NOT NULL,
    txts       timestamptz  NOT NULL,
    version    varchar(255) NOT NULL,
    query      text         NOT NULL,
    definition jsonb        NOT NULL,
    FOREIGN KEY (txid, txts, version) REFERENCES electric.migration_versions (txid, txts, version)
);

-- The tables that are synced. The oids are the truth, the names are as of the last electrify or refresh.
CREATE TABLE IF NOT EXISTS electric.electrified (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name text        NOT NULL,
    table_name  text        NOT NULL,
    oid         oid         NOT NULL UNIQUE,
    shadow      oid         NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT transaction_timestamp(),
    CONSTRAINT unique_table_name UNIQUE (schema_name, table_name)
);

-- How far each log of clients' transactions has been applied; written in the transaction that applies.
CREATE TABLE IF NOT EXISTS electric.publish_progress (
    id       text   PRIMARY KEY,
    position bigint NOT NULL
);

-- Who applies them: the last to have begun. One row.
CREATE TABLE IF NOT EXISTS electric.publish_session (
    number bigint NOT NULL
);
INSERT INTO electric.publish_session (number) SELECT 0 WHERE NOT EXISTS (SELECT FROM electric.publish_session);

-- Begins to apply a log. A predecessor that was killed, or cut off, may have a transaction under way: one that is about
-- to commit is waited for, and no other will. What is committed by now ends before wal_end.
CREATE OR REPLACE FUNCTION electric.begin_publishing(id text, OUT session bigint, OUT "position" bigint, OUT wal_end bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE electric.publish_session AS s SET number = s.number + 1 RETURNING s.number INTO session;
    SELECT p.position INTO "position" FROM electric.publish_progress AS p WHERE p.id = $1;
    wal_end := pg_current_wal_insert_lsn() - '0/0'::pg_lsn;
END
$$;

-- Writes down how far it has come since it was at `was`: Postgres' own subscription may have gone on from there.
CREATE OR REPLACE FUNCTION electric.advance(id text, session bigint, was bigint, pos bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM electric.publish_session AS s WHERE s.number = $2 FOR SHARE;
    IF FOUND THEN
        INSERT INTO electric.publish_progress AS p (id, position) VALUES ($1, $4)
        ON CONFLICT ON CONSTRAINT publish_progress_pkey DO UPDATE SET position = EXCLUDED.position
        WHERE p.position <= $3;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another applies transactions after position %', $3 USING ERRCODE = 'LE003';
    END IF;
END
$$;
DROP FUNCTION IF EXISTS electric.advance(text, bigint, bigint);

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = 'electric_publication') THEN
        CREATE PUBLICATION electric_publication FOR TABLE electric.ddl_commands, electric.electrified;
    END IF;
END
$$;

-- Which of the service's Postgres this one is, and of how many. With several, rows travel between them with all their
-- tags (see 73_merge.sql), so the WAL has to hold what a write replaced in a shadow table.

CREATE TABLE IF NOT EXISTS electric.instance (
    number integer NOT NULL,   -- from 1: its own writes travel as postgres_<number>
    count  integer NOT NULL
);
INSERT INTO electric.instance SELECT 1, 1 WHERE NOT EXISTS (SELECT FROM electric.instance);

CREATE OR REPLACE FUNCTION electric.is_one_of_several() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.count > 1 FROM electric.instance AS i
$$;

-- Of two writes of the same millisecond: instances come before clients, the first before the second.
CREATE OR REPLACE FUNCTION electric.wins_tie(a text, b text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own CONSTANT integer := (SELECT i.number FROM electric.instance AS i);
    of_a integer := CASE WHEN a IS NULL THEN own ELSE coalesce(substring(a FROM '^postgres_([0-9]{1,9})$')::integer, 1000000000) END;
    of_b integer := CASE WHEN b IS NULL THEN own ELSE coalesce(substring(b FROM '^postgres_([0-9]{1,9})$')::integer, 1000000000) END;
BEGIN
    RETURN CASE WHEN of_a <> of_b THEN of_a < of_b ELSE coalesce(a >= b, true) END;
END
$$;

-- Is a as late as b, or later? NULL when either is.
CREATE OR REPLACE FUNCTION electric.not_older(a electric.tag, b electric.tag) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN (a).ms OPERATOR(pg_catalog.<>) (b).ms THEN (a).ms OPERATOR(pg_catalog.>) (b).ms
                WHEN (a).ms OPERATOR(pg_catalog.=) (b).ms THEN electric.wins_tie((a).source, (b).source) END
$$;

-- How the publication has a shadow table: of a lone Postgres, what clients need; of several, all of it, old and new.
CREATE OR REPLACE FUNCTION electric.publish_shadow(shadow oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    columns text;   -- (k1, k2, _tags)
BEGIN
    IF EXISTS (SELECT FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid
                WHERE p.pubname = 'electric_publication' AND r.prrelid = shadow) THEN
        EXECUTE format('ALTER PUBLICATION electric_publication DROP TABLE ONLY %s', shadow::regclass);
    END IF;
    IF electric.is_one_of_several() THEN
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', shadow::regclass);
        EXECUTE format('ALTER PUBLICATION electric_publication ADD TABLE ONLY %s', shadow::regclass);
        RETURN;
    END IF;
    EXECUTE format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', shadow::regclass);
    -- Before Postgres 15 a publication has whole tables only: what is not wanted is read over.
    IF current_setting('server_version_num')::integer >= 150000 THEN
        SELECT format('(%s, _tags)', string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum))
          INTO columns
          FROM pg_attribute AS a
         WHERE a.attrelid = shadow AND a.attnum > 0 AND a.attname ~ '^k[0-9]+$';
    END IF;
    EXECUTE format('ALTER PUBLICATION electric_publication ADD TABLE ONLY %s %s', shadow::regclass, columns);
END
$$;

-- pg-ingest says which one this is, at every start.
CREATE OR REPLACE FUNCTION electric.set_instance(number integer, count integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was electric.instance;
    e   electric.electrified;
BEGIN
    SELECT i.* INTO was FROM electric.instance AS i;
    IF (was.number, was.count > 1) = ($1, $2 > 1) THEN
        UPDATE electric.instance AS i SET count = $2 WHERE i.count <> $2;
        RETURN;
    END IF;
    UPDATE electric.instance AS i SET number = $1, count = $2;
    FOR e IN SELECT * FROM electric.electrified AS s WHERE EXISTS (SELECT FROM pg_class AS c WHERE c.oid = s.oid) LOOP
        PERFORM electric.publish_shadow(e.shadow), electric.refresh(e.oid);
    END LOOP;
END
$$;

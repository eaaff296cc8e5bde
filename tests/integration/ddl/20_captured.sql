-- What is captured: one version for a transaction, a row for each table that a command changed, whoever gave the command.

CREATE TABLE a (id int PRIMARY KEY, v text);
CREATE TABLE b (id int PRIMARY KEY, v text);
CREATE TABLE c (id int PRIMARY KEY, v text);
CALL electric.electrify('a');
CALL electric.electrify('b');

-- The last n rows: table, columns and indexes.
CREATE FUNCTION checks.last_captured(n bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s(%s)%s', d.definition ->> 'name',
                             (SELECT string_agg(c ->> 'name', ',' ORDER BY c -> 'num') FROM jsonb_array_elements(d.definition -> 'columns') AS c),
                             (SELECT string_agg(format(' +%s', i ->> 'name'), '') FROM jsonb_array_elements(d.definition -> 'indexes') AS i)),
                      ' ' ORDER BY d.id)
           || ' in ' || count(DISTINCT version)
      FROM (SELECT * FROM electric.ddl_commands ORDER BY id DESC LIMIT n) AS d
$$;
SELECT count(*) AS "start" FROM electric.ddl_commands \gset
\set captured 'SELECT checks.is(:name, coalesce(checks.last_captured(count(*) - :start), ''nothing''), :expected) FROM electric.ddl_commands'

ALTER TABLE a ADD COLUMN one int, ADD COLUMN two int\; ALTER TABLE b ADD COLUMN one int\; ALTER TABLE c ADD COLUMN one int;
\set name '\'a string of several commands\'' \set expected '\'a(id,v,one,two) b(id,v,one) in 1\''
:captured;
SELECT count(*) AS "start" FROM electric.ddl_commands \gset
ALTER TABLE a ADD COLUMN IF NOT EXISTS one int;
CREATE INDEX a_one ON a (one);
CREATE INDEX IF NOT EXISTS a_one ON a (one);
\set name '\'IF NOT EXISTS\'' \set expected '\'a(id,v,one,two) +a_one in 1\''
:captured;
SELECT count(*) AS "start" FROM electric.ddl_commands \gset
DO $$ BEGIN FOR i IN 3..4 LOOP EXECUTE format('ALTER TABLE a ADD COLUMN c%s int', i); END LOOP; CREATE INDEX c_one ON c (one); END $$;
\set name '\'a DO block\'' \set expected '\'a(id,v,one,two,c3) +a_one a(id,v,one,two,c3,c4) +a_one in 1\''
:captured;
SELECT count(*) AS "start" FROM electric.ddl_commands \gset
CREATE FUNCTION checks.grow() RETURNS void LANGUAGE plpgsql AS $$ BEGIN ALTER TABLE public.b ADD COLUMN f int; END $$;
BEGIN;
SELECT (electric.migration_version('777')).version \gset
SELECT checks.grow();
CREATE UNIQUE INDEX b_f ON b (f);
COMMIT;
\set name '\'a function\'' \set expected '\'b(id,v,one,f) b(id,v,one,f) +b_f in 1\''
:captured;
SELECT checks.is('of the version that was given', string_agg(DISTINCT version, ','), '777') FROM electric.ddl_commands WHERE id > (SELECT max(id) - 2 FROM electric.ddl_commands);
SELECT count(*) AS "start" FROM electric.ddl_commands \gset
DROP INDEX a_one;
\set name '\'DROP INDEX\'' \set expected '\'a(id,v,one,two,c3,c4) in 1\''
:captured;
SELECT count(*) AS "start" FROM electric.ddl_commands \gset
CREATE INDEX CONCURRENTLY a_two ON a (two);
DROP INDEX CONCURRENTLY a_two;
\set name '\'an index, concurrently\'' \set expected '\'a(id,v,one,two,c3,c4) +a_two a(id,v,one,two,c3,c4) in 2\''
:captured;
CREATE INDEX a_two ON a (two);
SELECT count(*) AS "start" FROM electric.ddl_commands \gset
ALTER INDEX a_two RENAME TO a_deux;
\set name '\'ALTER INDEX RENAME\'' \set expected '\'a(id,v,one,two,c3,c4) +a_deux in 1\''
:captured;
SELECT count(*) AS "start" FROM electric.ddl_commands \gset
BEGIN;
SAVEPOINT s;
ALTER TABLE a ADD COLUMN gone int;
ROLLBACK TO s;
ALTER TABLE a ADD COLUMN stays int;
COMMIT;
\set name '\'what was rolled back\'' \set expected '\'a(id,v,one,two,c3,c4,stays) +a_deux in 1\''
:captured;
-- Migration tools wrap what they do, and try again what is there.
SELECT count(*) AS "start" FROM electric.ddl_commands \gset
BEGIN;
CREATE TABLE IF NOT EXISTS ran (version text PRIMARY KEY);
SELECT pg_advisory_xact_lock(1);
SET LOCAL lock_timeout = '1s';
ALTER TABLE "public"."a" ADD COLUMN "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP;
INSERT INTO ran VALUES ('1');
COMMIT;
\set name '\'a migration tool\'' \set expected '\'a(id,v,one,two,c3,c4,stays,createdAt) +a_deux in 1\''
:captured;
SELECT count(*) AS "start" FROM electric.ddl_commands \gset
CREATE TABLE other (id int PRIMARY KEY, a int REFERENCES a);
CREATE INDEX other_a ON other (a);
ALTER TABLE other ADD COLUMN x int;
DROP TABLE other;
CREATE VIEW looks AS SELECT * FROM a;
DROP VIEW looks;
COMMENT ON COLUMN a.v IS 'x';
VACUUM a;
ANALYZE a;
\set name '\'nothing that clients need to know\'' \set expected '\'nothing\''
:captured;

-- The code of the table follows.
INSERT INTO a (id, stays) VALUES (1, 2);
SELECT checks.matches('a row after it', checks.state('a', '1'), 'stays=pg@');

-- unelectrify
CREATE TABLE p (id int PRIMARY KEY, v text);
CREATE TABLE q (id int PRIMARY KEY, p int REFERENCES p);
CALL electric.electrify('p');
CALL electric.electrify('q');
INSERT INTO p VALUES (1, 'x');
SELECT checks.is('one that is not electrified', checks.error_of('CALL electric.unelectrify(''c'')'), 'table public.c is not electrified');
SELECT checks.is('one that another refers to', checks.error_of('CALL electric.unelectrify(''p'')'), 'table public.p is referred to by electrified tables: q');
CALL electric.unelectrify('q');
CALL electric.unelectrify('public', 'p');
SELECT checks.is('nothing is left of it', concat_ws(' ', (SELECT count(*) FROM pg_class WHERE relname ~ 'shadow__public__[pq]$'),
                 (SELECT count(*) FROM pg_proc WHERE proname ~ ('_' || 'p'::regclass::oid || '$')), (SELECT count(*) FROM pg_trigger WHERE tgrelid = 'p'::regclass AND NOT tgisinternal),
                 (SELECT count(*) FROM pg_publication_tables WHERE tablename ~ '(^|__)[pq]$'), (SELECT relreplident FROM pg_class WHERE oid = 'p'::regclass)), '0 0 0 0 d');
INSERT INTO p VALUES (2, 'y');
ALTER TABLE p ADD COLUMN w text NOT NULL DEFAULT 'w';
CALL electric.electrify('p');
SELECT checks.is('electrified again', checks.last_captured(1), 'p(id,v,w) in 1');
CALL electric.unelectrify('p');
ALTER TABLE p DROP COLUMN v;
SELECT checks.is('but not with less than clients have', checks.error_of('CALL electric.electrify(''p'')'), 'dropping column electrified table public.p.v');
DROP TABLE p CASCADE;
CREATE TABLE p (id text PRIMARY KEY);
SELECT checks.is('unless it is another table', checks.error_of('CALL electric.electrify(''p'')'), 'no error');

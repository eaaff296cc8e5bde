-- DDL that clients cannot follow is refused in its transaction, and leaves nothing behind.

CREATE TABLE entries (id int PRIMARY KEY, content text NOT NULL, content_b varchar(8), n int CHECK (n > 0), u int UNIQUE);
CREATE TABLE plain (id int PRIMARY KEY, content text NOT NULL);
CREATE SCHEMA h;
CREATE SCHEMA full_of;
CREATE TABLE full_of.it (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, entry int REFERENCES entries, other int REFERENCES plain);
CREATE TYPE kind AS ENUM ('a', 'b');
CREATE TABLE typed (id int PRIMARY KEY, k kind, b bigint GENERATED ALWAYS AS (id * 2) STORED);
CALL electric.electrify('entries');
CALL electric.electrify('full_of.it');
CALL electric.electrify('child');
CALL electric.electrify('typed');

CREATE FUNCTION checks.captured() RETURNS text LANGUAGE sql AS $$
    SELECT count(*) || ' rows ' || count(DISTINCT version) || ' versions' FROM electric.ddl_commands
$$;
CREATE FUNCTION checks.refused(statement text, expected text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before text := checks.captured();
    hint   text := 'no hint';
    error  text := 'no error';
BEGIN
    BEGIN
        EXECUTE statement;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS error = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    END;
    RETURN checks.is(statement, format('%s%s%s', error, CASE WHEN hint = '' THEN ' without hint' END,
                                       CASE WHEN before <> checks.captured() THEN ' captured' END), expected);
END
$$;

SELECT checks.refused(statement, expected) FROM (VALUES
    ('ALTER TABLE entries RENAME TO e2', 'renaming electrified table public.entries'),
    ('ALTER TABLE entries RENAME content TO c', 'modifying column of electrified table public.entries.c'),
    ('ALTER TABLE entries SET SCHEMA h', 'moving electrified table public.entries'),
    ('ALTER SCHEMA full_of RENAME TO h2', 'moving electrified table full_of.it'),
    ('ALTER TABLE entries DROP COLUMN content_b', 'dropping column electrified table public.entries.content_b'),
    ('ALTER TABLE entries DROP COLUMN content_b CASCADE, ADD COLUMN x text', 'dropping column electrified table public.entries.content_b'),
    ('ALTER TABLE entries ALTER content TYPE varchar(10)', 'Column type change is not an additive migration'),
    ('ALTER TABLE entries ALTER content_b TYPE varchar(10)', 'Column type change is not an additive migration'),
    ('ALTER TABLE entries ALTER id TYPE bigint', 'Column type change is not an additive migration'),
    ('DROP TABLE entries', 'cannot drop table entries because other objects depend on it'),
    ('DROP TABLE entries CASCADE', 'dropping electrified table public.entries'),
    ('DROP TABLE child', 'dropping electrified table public.child'),
    ('DROP TABLE plain, child', 'dropping electrified table public.child'),
    ('DROP SCHEMA full_of CASCADE', 'dropping electrified table full_of.it'),
    ('DROP TYPE kind CASCADE', 'dropping column electrified table public.typed.k'),
    ('DO $d$ BEGIN EXECUTE ''DROP TABLE child''; END $d$', 'dropping electrified table public.child'),
    ('ALTER TABLE entries DROP CONSTRAINT entries_pkey CASCADE', 'changing the primary key of electrified table public.entries'),
    ('ALTER TABLE typed DROP CONSTRAINT typed_pkey, ADD PRIMARY KEY (k)', 'changing the primary key of electrified table public.typed'),
    ('ALTER TABLE entries ALTER content DROP NOT NULL', 'dropping NOT NULL of electrified table public.entries.content'),
    ('ALTER TABLE entries DROP CONSTRAINT entries_n_check', 'dropping constraint entries_n_check of electrified table public.entries'),
    ('ALTER TABLE entries DROP CONSTRAINT entries_n_check, ADD CONSTRAINT entries_n_check CHECK (n > -1)', 'dropping constraint entries_n_check of electrified table public.entries'),
    ('ALTER TABLE entries DROP CONSTRAINT entries_u_key', 'dropping constraint entries_u_key of electrified table public.entries'),
    ('ALTER TABLE child DROP CONSTRAINT child_entry_fkey', 'dropping constraint child_entry_fkey of electrified table public.child'),
    ('ALTER TABLE entries ADD COLUMN x int NOT NULL', 'adding column NOT NULL without DEFAULT to electrified table public.entries.x'),
    ('ALTER TABLE entries ADD COLUMN x int UNIQUE', 'adding column with a UNIQUE constraint to electrified table public.entries.x'),
    ('ALTER TABLE entries ADD COLUMN "ID" int', 'columns id, "ID" of table public.entries differ in case only'),
    ('ALTER TABLE entries ADD COLUMN x xid', 'table public.entries has columns of types that cannot be synced: x (xid)'),
    ('ALTER TABLE entries ADD COLUMN x xid8[]', 'table public.entries has columns of types that cannot be synced: x (xid8)'),
    ('ALTER TABLE typed ALTER b DROP EXPRESSION', 'modifying column of electrified table public.typed.b'),
    ('CREATE INDEX _electric_x ON entries (n)', 'the name _electric_x cannot be used in electrified table public.entries'),
    ('CREATE INDEX "Child" ON entries (n)', 'the name "Child" of electrified table public.entries is taken on clients'),
    ('ALTER TABLE entries REPLICA IDENTITY DEFAULT', 'changing the replica identity of electrified table public.entries'),
    ('CREATE TABLE heir () INHERITS (entries)', 'electrified table public.entries cannot take part in inheritance')
  ) AS x (statement, expected);
SELECT checks.matches('SET UNLOGGED', checks.error_of('ALTER TABLE full_of.it SET UNLOGGED'), 'unlogged|published');

-- The table of another schema, or of another case, has its name already.
CREATE TABLE h.it (id int PRIMARY KEY);
CREATE TABLE "Entries" (id int PRIMARY KEY);
CREATE TABLE sqlite_t (id int PRIMARY KEY);
CREATE TABLE cased (id int PRIMARY KEY, a int, "A" int);
CREATE TABLE computed (id int, g int GENERATED ALWAYS AS (id + 1) STORED PRIMARY KEY);
CREATE TABLE system (id int PRIMARY KEY, t tid, x xid);
SELECT checks.refused(format('CALL electric.electrify(%L)', name), expected) FROM (VALUES
    ('h.it', 'the name it of electrified table h.it is taken on clients'),
    ('Entries', 'the name "Entries" of electrified table public."Entries" is taken on clients'),
    ('sqlite_t', 'the name sqlite_t cannot be used in electrified table public.sqlite_t'),
    ('cased', 'columns a, "A" of table public.cased differ in case only'),
    ('computed', 'column g of the primary key of table public.computed is generated'),
    ('system', 'table public.system has columns of types that cannot be synced: t (tid), x (xid)')
  ) AS x (name, expected);

-- What Postgres alone knows of comes and goes.
SELECT checks.is(statement, checks.error_of(statement), 'no error') FROM (VALUES
    ('ALTER TABLE entries ALTER content_b SET NOT NULL'), ('ALTER TABLE entries ALTER content_b DROP NOT NULL'),
    ('ALTER TABLE entries ADD CONSTRAINT short CHECK (length(content) < 9)'), ('ALTER TABLE entries DROP CONSTRAINT short'),
    ('ALTER TABLE entries ADD UNIQUE (content)'), ('ALTER TABLE entries DROP CONSTRAINT entries_content_key'),
    ('ALTER TABLE entries ALTER n SET DEFAULT 5'), ('ALTER TABLE entries ALTER n DROP DEFAULT'),
    ('ALTER TABLE entries RENAME CONSTRAINT entries_n_check TO positive'), ('ALTER TYPE kind ADD VALUE ''c'''),
    ('ALTER TABLE entries ENABLE ROW LEVEL SECURITY'), ('ALTER TABLE child DROP CONSTRAINT child_other_fkey'),
    ('REINDEX TABLE entries'), ('COMMENT ON TABLE entries IS ''x'''), ('ALTER TYPE kind RENAME VALUE ''c'' TO ''d'''),
    ('DROP TABLE plain')
  ) AS x (statement);
SELECT checks.refused('ALTER TABLE entries DROP CONSTRAINT positive', 'dropping constraint positive of electrified table public.entries');

-- Nobody needs a right on the schema electric for a table of his own.
CREATE ROLE checks_stranger;
GRANT ALL ON SCHEMA public TO checks_stranger;
SET ROLE checks_stranger;
CREATE TABLE own (id int, a text);
CREATE INDEX own_a ON own (a);
ALTER TABLE own RENAME a TO b;
ALTER TABLE own DROP COLUMN b, ADD COLUMN c int NOT NULL;
ALTER TABLE own RENAME TO own2;
DROP TABLE own2 CASCADE;
RESET ROLE;
SELECT checks.is('a stranger does as he likes', to_regclass('own2')::text, NULL);
DROP OWNED BY checks_stranger;
DROP ROLE checks_stranger;

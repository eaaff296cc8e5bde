-- Tables of all kinds: names, keys, generated columns, triggers, foreign keys, older clients.

-- Names that generated code could trip over.
CREATE SCHEMA "Odd ""Sch.ema";
CREATE TABLE "Odd ""Sch.ema"."sel'ect $body$ %s \ x" (
    dropped text, "key.1" int, "Schlüssel 2" varchar(8) COLLATE "C", _tags text, tag text, op text, tombstone text, "now_ms" text,
    s text, m text, n text, o text, k1 text, vals text, id text, "select" text, "quo""te" text, "back\slash '%s" text,
    present text, won text, kept text, inserted text, xmin_ text, "ääääääääääääääääääääääääääääääx" text, new_rows text, "EXCLUDED" text,
    PRIMARY KEY ("Schlüssel 2", "key.1"));
ALTER TABLE "Odd ""Sch.ema"."sel'ect $body$ %s \ x" DROP COLUMN dropped;
CALL electric.electrify('Odd "Sch.ema', 'sel''ect $body$ %s \ x');
CREATE FUNCTION checks.odd() RETURNS regclass LANGUAGE sql AS $$
    SELECT format('%I.%I', 'Odd "Sch.ema', 'sel''ect $body$ %s \ x')::regclass
$$;
CREATE FUNCTION checks.odd_row(first text) RETURNS text[] LANGUAGE sql AS $$
    SELECT ARRAY[NULL, '7', 'kä', first] || array_agg('v' || n) FROM generate_series(5, 26) AS n
$$;
SELECT checks.client(checks.odd(), 'insert', 'A@1000', '', checks.odd_row('one'), '*');
SELECT checks.matches('odd names, a client inserts', checks.state(checks.odd(), 'kä,7'), '^\(7,kä,one,v5,.*,v26\) \{A@1000\} _tags=A@1000 .*EXCLUDED=A@1000$');
SELECT checks.client(checks.odd(), 'update', 'A@2000', 'A@1000', checks.odd_row('two'), '_tags');
SELECT checks.matches('and updates', checks.state(checks.odd(), 'kä,7'), '^\(7,kä,two,v5,.*,v26\) \{A@2000\} _tags=A@2000 tag=A@1000 .*EXCLUDED=A@1000$');
BEGIN;
SELECT checks.now_is('S');
UPDATE "Odd ""Sch.ema"."sel'ect $body$ %s \ x" SET "quo""te" = 'pg', op = 'pg';
COMMIT;
SELECT checks.matches('Postgres updates', checks.state(checks.odd(), 'kä,7'), '^\(7,kä,two,v5,pg,.*,v26\) \{pg@S\} _tags=A@2000 .* op=pg@S .*quo"te=pg@S .*$');
UPDATE "Odd ""Sch.ema"."sel'ect $body$ %s \ x" SET "key.1" = 8;
SELECT checks.matches('its key too', checks.state(checks.odd(), 'kä,7'), '^absent \{\}');
INSERT INTO "Odd ""Sch.ema"."sel'ect $body$ %s \ x" ("key.1", "Schlüssel 2") VALUES (9, 'ö');
DELETE FROM "Odd ""Sch.ema"."sel'ect $body$ %s \ x";
SELECT checks.matches('inserts and deletes', checks.state(checks.odd(), 'ö,9'), '^absent \{\}');
TRUNCATE "Odd ""Sch.ema"."sel'ect $body$ %s \ x";

CREATE TABLE "ää.äääääääääääääääääääääääääääää" (id int PRIMARY KEY, v text);
CALL electric.electrify('public', 'ää.äääääääääääääääääääääääääääää');
INSERT INTO "ää.äääääääääääääääääääääääääääää" VALUES (1, 'x');
SELECT checks.matches('a name of 62 bytes', checks.state('"ää.äääääääääääääääääääääääääääää"', '1'), '^\(1,x\) \{pg@');

-- Keys and nothing else.
CREATE TABLE pair (b int, a int, PRIMARY KEY (a, b));
CALL electric.electrify('pair');
SELECT checks.client('pair', 'insert', 'A@1000', '', '{2,1}', '*');
SELECT checks.client('pair', 'insert', 'B@2000', '', '{2,1}', '*');
SELECT checks.is('only keys: two clients insert', checks.state('pair', '1,2'), '(2,1) {A@1000 B@2000}');
SELECT checks.client('pair', 'delete', 'A@3000', 'A@1000 B@2000', '{2,1}', '*');
SELECT checks.is('only keys: one deletes', checks.state('pair', '1,2'), 'absent {}');
BEGIN;
SELECT checks.now_is('S2');
INSERT INTO pair VALUES (2, 1);
UPDATE pair SET a = a;
COMMIT;
SELECT checks.is('only keys: Postgres inserts again and updates', checks.state('pair', '1,2'), '(2,1) {pg@S2}');
UPDATE pair SET a = 5;
SELECT checks.is('only keys: and moves it', checks.state('pair', '1,2'), 'absent {}');

-- Keys and values of every type.
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN short AS varchar(3) DEFAULT 'dom';
CREATE DOMAIN list AS int[];
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE FUNCTION checks.type(of text, one text, two text, three text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    tab regclass;
    got text := '';
BEGIN
    EXECUTE format('CREATE TABLE typed (id %s PRIMARY KEY, v %1$s)', of);
    tab := 'typed'::regclass;
    CALL electric.electrify('typed');
    PERFORM checks.client(tab, 'insert', 'A@1', '', ARRAY[one, two], '*');
    PERFORM checks.client(tab, 'update', 'A@2', 'A@1', ARRAY[one, three], 'v');
    EXECUTE format('SELECT id = $1::%s AND v = $2::%1$s FROM typed', of) INTO STRICT got USING one, three;
    EXECUTE format('UPDATE typed SET id = $1::%s, v = $1::%1$s', of) USING two;
    PERFORM checks.client(tab, 'update', 'A@99999999999999', '', ARRAY[one, two, three], 'id');
    EXECUTE format('SELECT $3 || '' '' || bool_and(id = v OR id = $1::%s AND v = $2::%1$s) || count(*) FROM typed', of) INTO got USING one, three, got;
    UPDATE typed SET v = NULL;
    DELETE FROM typed;
    EXECUTE format('SELECT $1 || '' '' || count(*) FROM %s WHERE _tags = ''{}'' AND _tombstone[2] IS NULL', checks.shadow_of(tab)) INTO got USING got;
    DROP TABLE typed;
    RETURN got;
END
$$;
SELECT checks.is('type ' || of, checks.type(of, one, two, three), 'true true2 2') FROM (VALUES
    ('uuid', '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000003'),
    ('text COLLATE nocase', 'a', 'b', 'C'), ('varchar(3)', 'a', 'b', 'c'), ('char(3)', 'a', 'b', 'c'), ('name', 'a', 'b', 'c'),
    ('"char"', 'a', 'b', 'c'), ('mood', 'sad', 'ok', 'ok'), ('short', 'a', 'b', 'c'), ('list', '{1}', '{2}', '{3}'),
    ('bool', 't', 'f', 't'), ('int2', '1', '2', '3'), ('int8', '1', '2', '9223372036854775807'), ('numeric', '1.0', '2', 'NaN'),
    ('numeric(4,1)', '1', '2', '3.1'), ('float8', '0.1', '1e300', 'Infinity'), ('money', '1', '2', '3'),
    ('date', '2023-01-01', '2023-01-02', 'infinity'), ('timetz', '10:00+01', '10:00+02', '10:00+03'),
    ('timestamptz(3)', '2023-01-01 00:00:00.123Z', '2023-01-02Z', '2023-01-03Z'), ('interval', '1 day', '2 days', '3 mons'),
    ('bytea', '\x00', '\x0102', '\xff'), ('inet', '10.0.0.1', '10.0.0.0/8', '::1'), ('macaddr', '08:00:2b:01:02:03', '08:00:2b:01:02:04', '08:00:2b:01:02:05'),
    ('varbit', '1', '10', '11'), ('bit(2)', '01', '10', '11'), ('jsonb', '{"a": 1}', '[1]', 'null'), ('int4range', '[1,2)', 'empty', '[3,)'),
    ('text[]', '{a,"b c"}', '{}', '{NULL}'), ('regclass', 'pg_class', 'pg_proc', 'pg_type'), ('pg_lsn', '0/1', '0/2', '0/3'), ('oid', '1', '2', '3')
  ) AS types (of, one, two, three);

-- Columns that Postgres fills.
CREATE TABLE filled (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED,
    serial_no int GENERATED BY DEFAULT AS IDENTITY (START 50), d text DEFAULT 'def', e mood DEFAULT 'ok', s short, t text DEFAULT 5,
    l varchar(3), price numeric(5,2), tags text[] DEFAULT '{a}', always int GENERATED ALWAYS AS IDENTITY (START 70));
CALL electric.electrify('filled');
SELECT checks.client('filled', 'insert', 'A@1000', '', '{7,3,99,4,x,sad,abc,t,len,1.5,"{b,c}",8}', '*');
SELECT checks.is('a client gives all columns', (SELECT f::text FROM filled AS f), '(7,3,6,4,x,sad,abc,t,len,1.50,"{b,c}",8)');
SELECT checks.client('filled', 'update', 'A@2000', 'A@1000', '{7,4,99,4,x,sad,abc,t,len,1.5,"{b,c}",9}', 'n,twice,always');
SELECT checks.is('an update leaves what nobody may write', (SELECT f::text FROM filled AS f), '(7,4,8,4,x,sad,abc,t,len,1.50,"{b,c}",8)');
SELECT checks.client('filled', 'insert', 'A@1000', '', '{8,3}', 'n!twice,serial_no,d,e,s,t,l,price,tags,always');
SELECT checks.is('what the client never heard of has its default', (SELECT f::text FROM filled AS f WHERE id = 8),
                 '(8,3,6,50,def,ok,dom,5,,,{a},70)');
SELECT checks.is('a text that is too long is refused',
                 checks.error_of($$SELECT checks.client('filled', 'insert', 'A@1', '', '{9,3,0,4,x,sad,abc,t,long}', '*')$$),
                 'value too long for type character varying(3)');
SELECT checks.is('for a domain too',
                 checks.error_of($$SELECT checks.client('filled', 'insert', 'A@1', '', '{9,3,0,4,x,sad,long}', '*')$$),
                 'value too long for type character varying(3)');
CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CALL electric.electrify('numbered');
SELECT checks.client('numbered', 'insert', 'A@1', '', '{4}', '*');
SELECT checks.client('numbered', 'insert', 'B@1', '', '{4}', '*');
SELECT checks.is('an identity and nothing else', checks.state('numbered', '4'), '(4) {A@1 B@1}');

-- A column that is added later.
CREATE TABLE grown (id int PRIMARY KEY, a text);
CALL electric.electrify('grown');
SELECT checks.client('grown', 'insert', 'A@1000', '', '{1,x}', '*');
SELECT checks.client('grown', 'insert', 'A@1000', '', '{2,x}', '*');
DELETE FROM grown WHERE id = 2;
ALTER TABLE grown ADD COLUMN b text DEFAULT 'new';
SELECT electric.refresh('grown'::regclass);
SELECT checks.client('grown', 'update', 'A@2000', 'A@1000', '{1,x2}', 'a!b');
SELECT checks.is('an older client updates', checks.state('grown', '1'), '(1,x2,new) {A@2000} a=A@2000 b=A@1000');
SELECT checks.client('grown', 'update', 'A@99999999999999', 'A@1000', '{2,x2}', 'a!b');
SELECT checks.is('or brings back a row from before the column', (SELECT g::text FROM grown AS g WHERE id = 2), '(2,x2,new)');
UPDATE grown SET b = 'pg' WHERE id = 1;
SELECT checks.matches('Postgres writes the new column', checks.state('grown', '1'), '^\(1,x2,pg\) \{(pg@\S+)\} a=A@2000 b=\1$');

-- What users' own triggers write is written by Postgres.
CREATE TABLE total (id int PRIMARY KEY, n int, stamp text);
CALL electric.electrify('total');
CREATE FUNCTION checks.on_total() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_WHEN = 'BEFORE' AND TG_OP = 'DELETE' THEN
        RETURN CASE WHEN OLD.stamp = 'keep' THEN NULL ELSE OLD END;
    ELSIF TG_WHEN = 'BEFORE' THEN
        NEW.stamp := NEW.n;
        RETURN CASE WHEN NEW.n = -1 THEN NULL ELSE NEW END;
    ELSIF NEW.n >= 10 THEN
        UPDATE total SET n = 9 WHERE id = NEW.id;
    ELSIF NEW.n = 5 THEN
        INSERT INTO total VALUES (NEW.id + 100, 1);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER before_total BEFORE INSERT OR UPDATE ON total FOR EACH ROW EXECUTE FUNCTION checks.on_total();
CREATE TRIGGER after_total AFTER INSERT OR UPDATE ON total FOR EACH ROW EXECUTE FUNCTION checks.on_total();
SELECT checks.client('total', 'insert', 'A@1000', '', '{1,2}', '*');
SELECT checks.is('a BEFORE trigger fills a column', checks.state('total', '1'), '(1,2,2) {A@1000} n=A@1000 stamp=A@1000');
BEGIN;
SELECT checks.now_is('T');
SELECT checks.client('total', 'insert', 'A@2000', '', '{2,12}', '*');
SELECT checks.client('total', 'insert', 'A@2000', '', '{3,5}', '*');
SELECT checks.client('total', 'update', 'A@99999999999999', 'A@1000', '{1,12}', 'n');
COMMIT;
SELECT checks.is('an AFTER trigger corrects the client''s insert', checks.state('total', '2'), '(2,9,9) {pg@T} n=pg@T stamp=pg@T');
SELECT checks.is('or its update', checks.state('total', '1'), '(1,9,9) {pg@99999999999999} n=pg@99999999999999 stamp=pg@99999999999999');
SELECT checks.is('or writes another row', checks.state('total', '103'), '(103,1,1) {pg@T} n=pg@T stamp=pg@T');
SELECT checks.is('a trigger that swallows an insert', checks.error_of($$SELECT checks.client('total', 'insert', 'A@1', '', '{4,-1}', '*')$$),
                 'a trigger kept a row of public.total from being inserted');
SELECT checks.is('or an update', checks.error_of($$SELECT checks.client('total', 'update', 'A@99999999999999', '', '{3,-1}', 'n')$$),
                 'a trigger kept a row of public.total from being updated');
CREATE TRIGGER before_delete BEFORE DELETE ON total FOR EACH ROW EXECUTE FUNCTION checks.on_total();
ALTER TABLE total DISABLE TRIGGER before_total, DISABLE TRIGGER after_total;
BEGIN;
SELECT checks.now_is('T2');
UPDATE total SET stamp = 'keep' WHERE id = 3;
SELECT checks.client('total', 'delete', 'A@3000', 'pg@T2', '{3,5,keep}', '*');
COMMIT;
SELECT checks.matches('a trigger that keeps a row from being deleted', checks.state('total', '3'), '^\(3,5,keep\) \{pg@T2\}');
SELECT checks.is('nothing is left behind in the session', coalesce(current_setting('electric.applying', true), ''), '');

-- A trigger may be the one who applies, one level deeper.
CREATE TABLE parked (tab regclass, operation text, tag text, observed text, row_text text[], claimed text);
CREATE FUNCTION checks.on_parked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM checks.client(NEW.tab, NEW.operation, NEW.tag, NEW.observed, NEW.row_text, NEW.claimed);
    RETURN NULL;
END
$$;
CREATE TRIGGER on_parked BEFORE INSERT ON parked FOR EACH ROW EXECUTE FUNCTION checks.on_parked();
INSERT INTO parked VALUES ('pair', 'insert', 'A@1000', '', '{8,8}', '*'), ('grown', 'update', 'B@1000', '', '{8,x}', '*');
SELECT checks.is('a trigger that applies', checks.state('pair', '8,8'), '(8,8) {A@1000}');
SELECT checks.is('two operations', checks.state('grown', '8'), '(8,x,) {B@1000} a=B@1000 b=B@1000');

-- Foreign keys: what a client's delete takes along is deleted by Postgres.
CREATE TABLE parent (id int PRIMARY KEY, up int REFERENCES parent ON DELETE CASCADE);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE);
CREATE TABLE friend (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE SET NULL);
CALL electric.electrify('parent');
CALL electric.electrify('child');
CALL electric.electrify('friend');
SELECT checks.client('parent', 'insert', 'A@1000', '', '{1}', '*');
SELECT checks.client('parent', 'insert', 'A@1000', '', '{2,1}', '*');
SELECT checks.client('child', 'insert', 'A@1000', '', '{1,1}', '*');
SELECT checks.client('friend', 'insert', 'A@1000', '', '{1,1}', '*');
BEGIN;
SELECT checks.now_is('U');
SELECT checks.client('parent', 'delete', 'A@2000', 'A@1000', '{1}', '*');
COMMIT;
SELECT checks.is('a client deletes the parent', checks.state('parent', '1'), 'absent {} up=A@1000');
SELECT checks.is('its own children go', checks.state('parent', '2'), 'absent {} up=A@1000');
SELECT checks.is('the child goes', checks.state('child', '1'), 'absent {} parent=A@1000');
SELECT checks.is('the friend stays', checks.state('friend', '1'), '(1,) {pg@U} parent=pg@U');
SELECT checks.is('the child''s delete has the time of Postgres', (SELECT _latest::text FROM electric.shadow__public__child),
                 (SELECT ms::text FROM checks.moments WHERE name = 'U'));

-- electrify itself: the forms of names, what it refuses and how, what it records.

CREATE FUNCTION checks.refused(name text, arguments text, expected text) RETURNS text LANGUAGE sql AS $$
    SELECT checks.is(name, checks.error_of(format('CALL electric.electrify(%s)', arguments)), expected)
$$;
SELECT checks.refused('no name', 'NULL', 'no valid table name given');
SELECT checks.refused('no first name', 'NULL, ''x''', 'no valid table name given');
SELECT checks.refused('three parts', '''a.b.c''', 'invalid table name given a.b.c');
SELECT checks.refused('no such table', '''nope''', 'relation "nope" does not exist');
SELECT checks.refused('no such table in a schema', '''public'', ''nope''', 'relation "public.nope" does not exist');
SELECT checks.refused('the empty name', '''''', 'relation "" does not exist');
SELECT checks.refused('quotes are part of a name without a dot', '''"item"''', 'relation ""item"" does not exist');
SELECT checks.refused('again', '''item''', 'table public.item is already electrified');

CREATE VIEW a_view AS SELECT 1 AS one;
CREATE TABLE keyless (a int);
CREATE TABLE parts (a int PRIMARY KEY) PARTITION BY RANGE (a);
CREATE TABLE part PARTITION OF parts DEFAULT;
CREATE TABLE base (a int PRIMARY KEY);
CREATE TABLE heir () INHERITS (base);
CREATE UNLOGGED TABLE unlogged (a int PRIMARY KEY);
SELECT checks.refused('a view', '''a_view''', 'public.a_view is not an ordinary table');
SELECT checks.refused('an index', '''item_pkey''', 'public.item_pkey is not an ordinary table');
SELECT checks.refused('a partitioned table', '''parts''', 'public.parts is not an ordinary table');
SELECT checks.refused('a partition', '''part''', 'public.part is not an ordinary table');
SELECT checks.refused('a table with heirs', '''base''', 'public.base is not an ordinary table');
SELECT checks.refused('an unlogged table', '''unlogged''', 'public.unlogged is not an ordinary table');
SELECT checks.refused('no primary key', '''keyless''', 'table public.keyless has no primary key, which electrify requires');
CREATE TABLE electric.trap (a int PRIMARY KEY);
SELECT checks.refused('a table in schema electric', '''electric.trap''',
                      'table electric.trap is in the schema electric, which is kept for the sync service itself');
DROP TABLE electric.trap;

CREATE TABLE "Tb" (id int PRIMARY KEY);
CREATE TABLE "la la" (id int PRIMARY KEY);
CREATE TABLE folded (id int PRIMARY KEY);
CREATE TABLE "a.b" (id int PRIMARY KEY);
CREATE SCHEMA "My S";
CREATE TABLE "My S"."T a" (id int PRIMARY KEY);
SELECT checks.refused(name, arguments, 'no error')
  FROM (VALUES ('upper case', '''Tb'''), ('a space', '''la la'''), ('folded', '''Public.FOLDED'''), ('a dot in quotes', '''"a.b"'''),
               ('quoted parts', '''"My S"."T a"''')) AS forms (name, arguments);

-- Versions
BEGIN;
SELECT checks.is('a version', (electric.migration_version('20230605_1')).version, '20230605_1');
SELECT checks.is('a second one in the transaction', checks.error_of($$SELECT electric.migration_version('2')$$),
                 'duplicate key value violates unique constraint "migration_versions_pkey"');
CREATE TABLE versioned (id int PRIMARY KEY, v varchar(64) NOT NULL DEFAULT 'x');
CALL electric.electrify('versioned');
COMMIT;
SELECT checks.is('a version that was used', checks.error_of($$SELECT electric.migration_version('20230605_1')$$),
                 'duplicate key value violates unique constraint "migration_unique_version"');
SELECT checks.is('the migration is recorded', format('%s %s', version, definition ->> 'name'), '20230605_1 versioned')
  FROM electric.ddl_commands ORDER BY id DESC LIMIT 1;
SELECT checks.is('as SQL', query, E'CREATE TABLE public.versioned (\n    id integer NOT NULL,\n'
    '    v character varying(64) NOT NULL DEFAULT ''x''::character varying,\n    CONSTRAINT versioned_pkey PRIMARY KEY (id)\n);\n')
  FROM electric.ddl_commands ORDER BY id DESC LIMIT 1;
SELECT checks.is('automatic versions are digits and underscores', bool_and(version ~ '^[0-9_]+$')::text, 'true') FROM electric.ddl_commands;

-- The definition
CREATE TABLE described (
    "B" numeric(10, 2)[] , a int GENERATED ALWAYS AS IDENTITY, gone text, c char(4) DEFAULT 'c' NOT NULL, ts timestamp(3), m mood DEFAULT 'sad',
    up int, g int GENERATED ALWAYS AS (up + 1) STORED, s short, CONSTRAINT pk PRIMARY KEY (c, a), CONSTRAINT positive CHECK (up > 0),
    CONSTRAINT single UNIQUE (up), CONSTRAINT fk FOREIGN KEY (up) REFERENCES item (id) ON DELETE SET NULL ON UPDATE CASCADE);
ALTER TABLE described DROP COLUMN gone;
CREATE INDEX by_m ON described (m DESC, lower(c)) INCLUDE (up) WHERE up > 1;
SELECT checks.is('definition: ' || part, d -> part #>> '{}', expected::jsonb #>> '{}')
  FROM electric.table_definition('described'::regclass) AS d, (VALUES
    ('name', '"described"'),
    ('schema', '"public"'),
    ('pks', '["c", "a"]'),
    ('constraints', '[{"kind": "c", "name": "positive", "columns": ["up"], "expression": "(up > 0)"},
                      {"kind": "f", "name": "fk", "columns": ["up"], "ref_schema": "public", "ref_table": "item", "ref_columns": ["id"],
                       "on_delete": "SET NULL", "on_update": "CASCADE"},
                      {"kind": "p", "name": "pk", "columns": ["c", "a"]},
                      {"kind": "u", "name": "single", "columns": ["up"]}]'),
    ('indexes', '[{"name": "by_m", "unique": false, "method": "btree", "where": "(up > 1)",
                   "columns": [{"name": "m", "desc": true}, {"expression": "lower((c)::text)", "desc": false}]}]')
  ) AS parts (part, expected);
SELECT checks.is('definition: column ' || (c ->> 'name'), (c - 'type_oid')::text, expected::jsonb::text)
  FROM jsonb_array_elements(electric.table_definition('described'::regclass) -> 'columns') WITH ORDINALITY AS x (c, n)
  LEFT JOIN (VALUES
    (1, '{"num":1,"name":"B","type":"numeric","array":true,"typtype":"b","category":"A","size":[10,2],"not_null":false,"default":null,"generated":null,"identity":""}'),
    (2, '{"num":2,"name":"a","type":"int4","typtype":"b","category":"N","size":[],"not_null":true,"default":null,"generated":null,"identity":"a"}'),
    (3, '{"num":4,"name":"c","type":"bpchar","typtype":"b","category":"S","size":[4],"not_null":true,"default":"''c''::bpchar","generated":null,"identity":""}'),
    (4, '{"num":5,"name":"ts","type":"timestamp","typtype":"b","category":"D","size":[3],"not_null":false,"default":null,"generated":null,"identity":""}'),
    (5, '{"num":6,"name":"m","type":"mood","typtype":"e","category":"E","size":[],"not_null":false,"default":"''sad''::public.mood","generated":null,"identity":""}'),
    (6, '{"num":7,"name":"up","type":"int4","typtype":"b","category":"N","size":[],"not_null":false,"default":null,"generated":null,"identity":""}'),
    (7, '{"num":8,"name":"g","type":"int4","typtype":"b","category":"N","size":[],"not_null":false,"default":null,"generated":"(up + 1)","identity":""}'),
    (8, '{"num":9,"name":"s","type":"short","base":"varchar","typtype":"d","category":"S","size":[],"not_null":false,"default":null,"generated":null,"identity":""}')
  ) AS e (n, expected) USING (n);

-- Effects
SELECT checks.is('replica identity is full', relreplident::text, 'f') FROM pg_class WHERE oid = 'versioned'::regclass;
-- Before 15 with all their columns, of which that view says nothing.
SELECT checks.is('table and shadow are published', string_agg(concat_ws(' ', tablename, to_json(t)->>'attnames'), ', ' ORDER BY tablename),
                 CASE WHEN current_setting('server_version_num')::int < 150000 THEN 'shadow__public__versioned, versioned'
                      ELSE 'shadow__public__versioned ["k1","_tags"], versioned ["id","v"]' END)
  FROM pg_publication_tables AS t WHERE pubname = 'electric_publication' AND tablename ~ 'versioned';

-- A table that was dropped and made again is a new table.
DROP TABLE versioned;
CREATE TABLE versioned (id int PRIMARY KEY, w text);
SELECT checks.refused('a table that was dropped and made again', '''versioned''', 'no error');
INSERT INTO versioned VALUES (1, 'x');
SELECT checks.matches('and works', checks.state('versioned', '1'), '^\(1,x\) \{pg@');
SELECT checks.is('its old functions are gone', count(*)::text, '0')
  FROM pg_proc AS p WHERE p.pronamespace = 'electric'::regnamespace AND p.proname ~ '^(apply|on_.*)_\d+$'
   AND NOT EXISTS (SELECT FROM electric.electrified AS e WHERE p.proname ~ ('_' || e.oid || '$'));

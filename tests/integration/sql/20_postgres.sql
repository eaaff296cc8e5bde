-- What Postgres itself writes: tags of rows and columns, whatever the statement.

CREATE TABLE entry (id int PRIMARY KEY, a text, b text);
INSERT INTO entry SELECT n, 'x', 'y' FROM generate_series(1, 20) AS n;
CALL electric.electrify('entry');
CREATE FUNCTION checks.entry(name text, key int, expected text) RETURNS text LANGUAGE sql AS $$
    SELECT checks.is(name, checks.state('entry', key::text), expected)
$$;
CREATE FUNCTION checks.entry_op(key int, operation text, tag text, observed text, a text, b text, claimed text DEFAULT '*')
RETURNS void LANGUAGE sql AS $$
    SELECT checks.client('entry', operation, tag, observed, ARRAY[key::text, a, b], claimed)
$$;

SELECT checks.entry('rows from before electrify have no shadow', 1, '(1,x,y) no shadow');
SELECT checks.entry_op(1, 'update', 'A@1000', 'pg@0', 'xA', 'y', 'a');
SELECT checks.entry('a client updates one, having seen pg@0', 1, '(1,xA,y) {A@1000} a=A@1000 b=-');
SELECT checks.entry_op(2, 'update', 'A@1000', '', 'xA', 'y', 'a');
SELECT checks.entry('or not having seen it', 2, '(2,xA,y) {pg@0 A@1000} a=A@1000 b=-');
SELECT checks.entry_op(3, 'delete', 'A@1000', 'pg@0', 'x', 'y');
SELECT checks.entry('or deletes it', 3, 'absent {} a=- b=-');
SELECT checks.entry_op(3, 'update', 'B@900', 'pg@0', 'xB', 'yB', 'a');
SELECT checks.entry('and another brings it back: a column without tag is as the client has it', 3, '(3,xB,yB) {B@900} a=B@900 b=-');
SELECT checks.entry_op(4, 'delete', 'A@1000', 'B@1', 'x', 'y');
SELECT checks.entry('or deletes it without having seen it', 4, '(4,x,y) {pg@0} a=- b=-');

BEGIN;
SELECT checks.now_is('Q');
UPDATE entry SET b = 'pg' WHERE id IN (5, 1);
DELETE FROM entry WHERE id = 6;
COMMIT;
SELECT checks.entry('Postgres updates a row from before electrify', 5, '(5,x,pg) {pg@Q} a=- b=pg@Q');
SELECT checks.entry('and one that a client wrote', 1, '(1,xA,pg) {pg@Q} a=A@1000 b=pg@Q');
SELECT checks.entry('Postgres deletes a row from before electrify', 6, 'absent {} a=- b=-');
SELECT checks.is('and keeps its values', (SELECT _tombstone::text FROM electric.shadow__public__entry WHERE k1 = 6), '{6,x,y}');

BEGIN;
SELECT checks.now_is('Q2');
UPDATE entry SET b = b WHERE id IN (1, 7);
COMMIT;
SELECT checks.entry('an update that changes nothing gives a tag, and no column tag', 1, '(1,xA,pg) {pg@Q2} a=A@1000 b=pg@Q');
SELECT checks.entry('also to a row from before electrify', 7, '(7,x,y) {pg@Q2} a=- b=-');

BEGIN;
SELECT checks.now_is('Q3');
UPDATE entry SET id = 108, a = 'k' WHERE id = 8;
COMMIT;
SELECT checks.entry('a changed key: the old one is deleted', 8, 'absent {} a=- b=-');
SELECT checks.is('with its old values', (SELECT _tombstone::text FROM electric.shadow__public__entry WHERE k1 = 8), '{8,x,y}');
SELECT checks.entry('and the new one inserted', 108, '(108,k,y) {pg@Q3} a=pg@Q3 b=pg@Q3');
BEGIN;
SELECT checks.now_is('Q4');
UPDATE entry SET id = id - 1000 WHERE id IN (108, 9, 10);
UPDATE entry SET id = id + 1000 WHERE id < 0;
COMMIT;
SELECT checks.entry('many keys changed and changed back', 9, '(9,x,y) {pg@Q4} a=pg@Q4 b=pg@Q4');
SELECT checks.entry('leave a deleted row in between', -991, 'absent {} a=pg@Q4 b=pg@Q4');

INSERT INTO checks.moments SELECT 'G', ms + 86400000 FROM checks.moments WHERE name = 'Q4';
SELECT checks.entry_op(11, 'update', 'A@G', 'pg@0', 'fut', 'y', 'a');
SELECT checks.entry_op(12, 'update', 'A@G+7', 'pg@0', 'fut', 'y', 'a');
BEGIN;
SELECT checks.now_is('Q5');
UPDATE entry SET a = 'pg', b = b WHERE id IN (11, 12, 13);
UPDATE entry SET b = 'again' WHERE id IN (11, 14);
COMMIT;
SELECT checks.entry('each row of a statement is later than its own latest', 11, '(11,pg,again) {pg@G} a=pg@G b=pg@G');
SELECT checks.entry('and no later', 12, '(12,pg,y) {pg@G+7} a=pg@G+7 b=-');
SELECT checks.entry('a row without future has the transaction''s time', 13, '(13,pg,y) {pg@Q5} a=pg@Q5 b=-');
DELETE FROM entry WHERE id = 12;
BEGIN;
INSERT INTO entry VALUES (12);
COMMIT;
SELECT checks.entry('inserted again, all NULL: later than all before', 12, '(12,,) {pg@G+7} a=pg@G+7 b=pg@G+7');
SELECT checks.entry_op(15, 'delete', 'A@G+9', 'pg@0', 'x', 'y');
INSERT INTO entry VALUES (15, 'back') ON CONFLICT (id) DO UPDATE SET a = 'conflict';
SELECT checks.entry('a delete of the future counts too', 15, '(15,back,) {pg@G+9} a=pg@G+9 b=pg@G+9');
BEGIN;
SELECT checks.now_is('Q6');
INSERT INTO entry VALUES (16, 'i'), (116, 'i') ON CONFLICT (id) DO UPDATE SET a = 'u';
COMMIT;
SELECT checks.entry('INSERT ON CONFLICT that updates', 16, '(16,u,y) {pg@Q6} a=pg@Q6 b=-');
SELECT checks.entry('and that inserts', 116, '(116,i,) {pg@Q6} a=pg@Q6 b=pg@Q6');

TRUNCATE entry;
SELECT checks.is('TRUNCATE leaves no tag', count(*)::text, '0') FROM electric.shadow__public__entry WHERE _tags <> '{}';
SELECT checks.entry_op(16, 'update', 'A@G', 'pg@Q6', 'u', 'z', 'b');
SELECT checks.entry('a row from before TRUNCATE comes back as the client has it', 16, '(16,u,z) {A@G} a=pg@Q6 b=A@G');

-- Values whose text depends on settings come back exactly.
CREATE TABLE exact (id int PRIMARY KEY, t timestamptz, d date, i interval, f float8, y bytea, c char(5), n numeric, note text);
CALL electric.electrify('exact');
INSERT INTO exact VALUES (1, '2023-06-05 12:34:56.789+02', '2023-06-05', '1 mon -3 days 04:05:06', 1/3.0::float8, '\x00ff', 'ab', 1.50);
CREATE TABLE checks.before AS SELECT * FROM exact;
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = -3;
SET bytea_output = 'escape';
DELETE FROM exact;
RESET ALL;
SELECT checks.client('exact', 'update', 'A@99999999999999', '', '{1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,new}', 'note!t,d,i,f,y,c,n');
SELECT checks.is('a tombstone is exact', count(*)::text, '1')
  FROM exact AS e JOIN checks.before AS b ON (e.t, e.d, e.i, e.f, e.y, e.c, e.n::text) = (b.t, b.d, b.i, b.f, b.y, b.c, b.n::text);
BEGIN;
SELECT checks.now_is('R');
UPDATE exact SET n = 1.5;
COMMIT;
SELECT checks.matches('equal is not identical: 1.50 and 1.5', checks.state('exact', '1'), 'n=pg@\d+ note');

-- The worked cases of the conflict rules: key and number of the case are the same. Each ends in a line that shows the
-- row, its tags, and the tags of the columns a and b.

CREATE TABLE item (id int PRIMARY KEY, a text, b text);
CALL electric.electrify('item');

CREATE FUNCTION checks.op(key int, operation text, tag text, observed text, a text, b text, claimed text DEFAULT '*')
RETURNS void LANGUAGE sql AS $$
    SELECT checks.client('item', operation, tag, observed, ARRAY[key::text, a, b], claimed)
$$;
CREATE FUNCTION checks.item(name text, key int, expected text) RETURNS text LANGUAGE sql AS $$
    SELECT checks.is(name, checks.state('item', key::text), expected)
$$;
-- What most cases begin with.
CREATE FUNCTION checks.given(key int) RETURNS void LANGUAGE sql AS $$
    SELECT checks.op(key, 'insert', 'A@1000', '', 'x', 'y')
$$;

SELECT checks.given(1);
SELECT checks.item('case 1, a client inserts', 1, '(1,x,y) {A@1000} a=A@1000 b=A@1000');

SELECT checks.given(2);
SELECT checks.given(2);
SELECT checks.item('case 2, the same again', 2, '(2,x,y) {A@1000} a=A@1000 b=A@1000');

SELECT checks.given(3);
SELECT checks.op(3, 'update', 'A@2000', 'A@1000', 'x2', 'y', 'a');
SELECT checks.item('case 3, an update', 3, '(3,x2,y) {A@2000} a=A@2000 b=A@1000');

SELECT checks.given(4);
SELECT checks.op(4, 'update', 'A@2000', 'A@1000', 'x2', 'y', 'a');
SELECT checks.op(4, 'delete', 'A@3000', 'A@2000', 'x2', 'y');
SELECT checks.item('case 4, a delete', 4, 'absent {} a=A@2000 b=A@1000');
SELECT checks.is('case 4, the tombstone', (SELECT _tombstone::text FROM electric.shadow__public__item WHERE k1 = 4), '{4,x2,y}');

SELECT checks.op(4, 'update', 'B@2500', 'A@1000', 'x', 'yB', 'b');
SELECT checks.item('case 5, an update brings a deleted row back', 4, '(4,x2,yB) {B@2500} a=A@2000 b=B@2500');
SELECT checks.is('case 5, no tombstone is left', (SELECT _tombstone::text FROM electric.shadow__public__item WHERE k1 = 4), NULL);

SELECT checks.given(6);
SELECT checks.op(6, 'update', 'B@2000', 'A@1000', 'xB', 'y', 'a');
SELECT checks.op(6, 'update', 'C@1500', 'A@1000', 'x', 'yC', 'b');
SELECT checks.item('case 6, two clients, two columns', 6, '(6,xB,yC) {B@2000 C@1500} a=B@2000 b=C@1500');

SELECT checks.given(7);
SELECT checks.op(7, 'update', 'B@2000', 'A@1000', 'xB', 'y', 'a');
SELECT checks.op(7, 'update', 'C@1500', 'A@1000', 'xC', 'y', 'a');
SELECT checks.item('case 7, the older write loses', 7, '(7,xB,y) {B@2000 C@1500} a=B@2000 b=A@1000');

SELECT checks.given(8);
SELECT checks.op(8, 'update', 'B@2000', 'A@1000', 'xB', 'y', 'a');
SELECT checks.op(8, 'update', 'C@2000', 'A@1000', 'xC', 'y', 'a');
SELECT checks.item('case 8, a tie goes to the greater name', 8, '(8,xC,y) {B@2000 C@2000} a=C@2000 b=A@1000');
SELECT checks.given(108);
SELECT checks.op(108, 'update', 'C@2000', 'A@1000', 'xC', 'y', 'a');
SELECT checks.op(108, 'update', 'B@2000', 'A@1000', 'xB', 'y', 'a');
SELECT checks.item('case 8, in the other order', 108, '(108,xC,y) {C@2000 B@2000} a=C@2000 b=A@1000');

SELECT checks.given(9);
SELECT checks.op(9, 'update', 'B@2000', 'A@1000', 'xB', 'y', 'a');
SELECT checks.op(9, 'delete', 'C@3000', 'A@1000', 'x', 'y');
SELECT checks.item('case 9, a delete that did not see the last update', 9, '(9,xB,y) {B@2000} a=B@2000 b=A@1000');
SELECT checks.op(9, 'delete', 'B@4000', 'B@2000', 'xB', 'y');
SELECT checks.item('case 11, a delete that did', 9, 'absent {} a=B@2000 b=A@1000');

SELECT checks.given(10);
SELECT checks.op(10, 'delete', 'C@3000', 'A@1000', 'x', 'y');
SELECT checks.op(10, 'update', 'B@2000', 'A@1000', 'xB', 'y', 'a');
SELECT checks.item('case 10, an older update wins over a delete', 10, '(10,xB,y) {B@2000} a=B@2000 b=A@1000');

SELECT checks.op(12, 'insert', 'A@2000', '', 'xA', 'yA');
SELECT checks.op(12, 'insert', 'B@1000', '', 'xB', 'yB');
SELECT checks.item('case 12, two inserts, the first is later', 12, '(12,xA,yA) {A@2000 B@1000} a=A@2000 b=A@2000');

SELECT checks.op(13, 'insert', 'A@1000', '', 'xA', 'yA');
SELECT checks.op(13, 'insert', 'B@2000', '', 'xB', NULL);
SELECT checks.item('case 13, NULL is a value', 13, '(13,xB,) {A@1000 B@2000} a=B@2000 b=B@2000');

BEGIN;
SELECT checks.now_is('P');
INSERT INTO checks.moments SELECT 'F', ms + 86400000 FROM checks.moments WHERE name = 'P';
INSERT INTO item SELECT n, 'p', 'q' FROM unnest(ARRAY[14, 15, 16, 17, 19, 20, 21]) AS n;
COMMIT;

SELECT checks.op(14, 'update', 'A@1000', '', 'old', 'q', 'a');
SELECT checks.item('case 14, a client''s old write, unaware of Postgres', 14, '(14,p,q) {pg@P A@1000} a=pg@P b=pg@P');
SELECT checks.op(15, 'update', 'A@1000', 'pg@P', 'old', 'q', 'a');
SELECT checks.item('case 15, a losing write replaces the tag', 15, '(15,p,q) {A@1000} a=pg@P b=pg@P');

SELECT checks.op(n, 'update', 'A@F', 'pg@P', 'fut', 'q', 'a') FROM unnest(ARRAY[16, 17]) AS n;
UPDATE item SET a = 'pga' WHERE id = 16;
SELECT checks.item('case 16, Postgres wins over the future', 16, '(16,pga,q) {pg@F} a=pg@F b=pg@P');
UPDATE item SET b = 'pgb' WHERE id = 17;
SELECT checks.item('case 17, in the column that it changed', 17, '(17,fut,pgb) {pg@F} a=A@F b=pg@F');
SELECT checks.op(16, 'update', 'A@F+1000', 'A@F', 'fut2', 'q', 'a');
SELECT checks.item('case 18, until a later write', 16, '(16,fut2,q) {pg@F A@F+1000} a=A@F+1000 b=pg@P');

BEGIN;
SELECT checks.now_is('P2');
UPDATE item SET a = 'p2' WHERE id IN (19, 21);
COMMIT;
DELETE FROM item WHERE id = 19;
SELECT checks.op(19, 'update', 'A@F', 'pg@P', 'p', 'new', 'b');
SELECT checks.item('case 19, back as Postgres last had it', 19, '(19,p2,new) {A@F} a=pg@P2 b=A@F');
SELECT checks.op(20, 'delete', 'A@1000', 'pg@P', 'p', 'q');
SELECT checks.item('case 20, deletes ignore time', 20, 'absent {} a=pg@P b=pg@P');
SELECT checks.op(21, 'delete', 'A@F', 'pg@P', 'p', 'q');
SELECT checks.item('case 21, but not what they did not see', 21, '(21,p2,q) {pg@P2} a=pg@P2 b=pg@P');

SELECT checks.op(20, 'delete', 'B@2500', '', 'p', 'q');
SELECT checks.item('case 22, a delete of a deleted row', 20, 'absent {} a=pg@P b=pg@P');
SELECT checks.op(23, 'delete', 'B@2500', '', 'x', 'y');
SELECT checks.item('case 23, a delete of a row that never was', 23, 'absent no shadow');

SELECT checks.op(24, 'insert', 'A@2000', '', 'x', 'y');
SELECT checks.op(24, 'delete', 'A@3000', 'A@2000', 'x', 'y');
SELECT checks.op(24, 'insert', 'B@1000', '', 'xB', 'yB');
SELECT checks.item('case 24, a late insert finds newer values', 24, '(24,x,y) {B@1000} a=A@2000 b=A@2000');

SELECT checks.op(25, 'insert', 'A@1000', '', 'x', 'y');
SELECT checks.op(25, 'delete', 'A@2000', 'A@1000', 'x', 'y');
SELECT checks.op(25, 'insert', 'A@3000', '', 'z', NULL);
SELECT checks.item('case 25, inserted again', 25, '(25,z,) {A@3000} a=A@3000 b=A@3000');

BEGIN;
SELECT checks.given(26);
SELECT checks.op(26, 'delete', 'A@1000', '', 'x', 'y');
COMMIT;
SELECT checks.item('case 26a, insert and delete in one transaction', 26, 'absent {} a=A@1000 b=A@1000');
BEGIN;
SELECT checks.given(126);
SELECT checks.op(126, 'delete', 'A@1000', 'A@1000', 'x', 'y');
COMMIT;
SELECT checks.item('case 26b, having seen its own insert', 126, 'absent {} a=A@1000 b=A@1000');
SELECT checks.op(226, 'insert', 'A@5000', '', 'x', 'y');
BEGIN;
SELECT checks.op(226, 'update', 'A@6000', 'A@5000', 'x2', 'y', 'a');
SELECT checks.op(226, 'update', 'A@6000', '', 'x2', 'y2', 'b');
COMMIT;
SELECT checks.item('case 26c, two updates in one transaction', 226, '(226,x2,y2) {A@6000} a=A@6000 b=A@6000');
SELECT checks.op(326, 'update', 'A@1000', 'Z@1', 'x2', 'y', 'a');
SELECT checks.item('case 26d, an update of a row that never was', 326, '(326,x2,y) {A@1000} a=A@1000 b=-');

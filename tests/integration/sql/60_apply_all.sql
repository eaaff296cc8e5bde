-- Many operations in one call: the same as one at a time, and whole new rows with one statement.

CREATE FUNCTION checks.apply_all(tab regclass, tag text, deleted boolean[], vals text[], claims text[], runs integer[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    n integer := cardinality(deleted);
BEGIN
    EXECUTE format('SELECT electric.apply_all_%s($1, $2, $3, $4, $5, $6, $7, $8)', tab::oid)
      USING array_fill(NULL::bytea, ARRAY[n]), array_fill(NULL::text, ARRAY[n]), array_fill(checks.tag(tag), ARRAY[n]), deleted,
            array_fill('{}'::text, ARRAY[n]), vals, claims, runs;
END
$$;

CREATE TABLE many (id int PRIMARY KEY, a text, b text DEFAULT 'd');
CALL electric.electrify('many');
SELECT checks.apply_all('many', 'A@1000', '{f,f,f}', '{"{1,x,y}","{2,NULL,NULL}","{3,\",\",y}"}',
                        array_fill('{t,t,t}'::text, ARRAY[3]), '{3,1,1}');
SELECT checks.is('whole new rows', (SELECT string_agg(checks.state('many', id::text), ' ' ORDER BY id) FROM many),
                 '(1,x,y) {A@1000} a=A@1000 b=A@1000 (2,,) {A@1000} a=A@1000 b=A@1000 (3,",",y) {A@1000} a=A@1000 b=A@1000');
SELECT checks.is('with one statement', (SELECT count(DISTINCT cmin::text)::text FROM many), '1');
SELECT checks.apply_all('many', 'A@2000', '{f,f,t}', '{"{4,x}","{5,x}","{4,x}"}',
                        array_fill('{t,t}'::text, ARRAY[3]), '{2,1,1}');
SELECT checks.is('a column that the client does not know', checks.state('many', '5'), '(5,x,d) {A@2000} a=A@2000 b=-');
SELECT checks.is('a delete after the run', checks.state('many', '4'), 'absent {} a=A@2000 b=-');

SELECT checks.is('a row that is there is not new',
                 checks.error_of($$SELECT checks.apply_all('many', 'B@1000', '{f,f}', '{"{6,x,y}","{1,x,y}"}',
                                                           '{"{t,t,t}","{t,t,t}"}', '{2,1}')$$),
                 'not all rows are new to public.many');
SELECT checks.is('nor one that was deleted',
                 checks.error_of($$SELECT checks.apply_all('many', 'B@1000', '{f,f}', '{"{6,x,y}","{4,x,y}"}',
                                                           '{"{t,t,t}","{t,t,t}"}', '{2,1}')$$),
                 'not all rows are new to public.many');
SELECT checks.is('nor one that comes twice',
                 checks.error_of($$SELECT checks.apply_all('many', 'B@1000', '{f,f}', '{"{6,x,y}","{6,x,y}"}',
                                                           '{"{t,t,t}","{t,t,t}"}', '{2,1}')$$),
                 'not all rows are new to public.many');
SELECT checks.apply_all('many', 'B@3000', '{f,f}', '{"{6,x,y}","{1,z,y}"}', '{"{t,t,t}","{t,t,t}"}', '{1,1}');
SELECT checks.is('then it is settled row by row', checks.state('many', '1'), '(1,z,y) {A@1000 B@3000} a=B@3000 b=B@3000');

-- Without event triggers: whoever alters an electrified table says so.

CREATE TABLE changed (id int PRIMARY KEY, v text NOT NULL);
CALL electric.electrify('changed');
CREATE FUNCTION checks.captured_columns() RETURNS text LANGUAGE sql AS $$
    SELECT (SELECT string_agg(c ->> 'name', ',' ORDER BY c -> 'num') FROM jsonb_array_elements(d.definition -> 'columns') AS c)
      FROM electric.ddl_commands AS d ORDER BY d.id DESC LIMIT 1
$$;
ALTER TABLE changed ADD COLUMN w text;
SELECT checks.is('nothing is captured by itself', checks.captured_columns(), 'id,v');
SELECT electric.table_changed('changed'::regclass);
SELECT checks.is('it is when it is said', checks.captured_columns(), 'id,v,w');
SELECT count(*) AS captured FROM electric.ddl_commands \gset
SELECT electric.table_changed('changed'::regclass);
SELECT checks.is('once', count(*)::text, :'captured') FROM electric.ddl_commands;
BEGIN;
ALTER TABLE changed RENAME v TO x;
SELECT checks.is('what clients cannot follow is refused', checks.error_of('SELECT electric.table_changed(''changed''::regclass)'),
                 'modifying column of electrified table public.changed.x');
ROLLBACK;
INSERT INTO changed VALUES (1, 'v', 'w');
TRUNCATE changed;
SELECT checks.matches('TRUNCATE leaves a tombstone', _tombstone::text, '1,v,w') FROM electric.shadow__public__changed;

-- Two transactions of the same moment.
BEGIN;
INSERT INTO electric.migration_versions
SELECT '1', transaction_timestamp(), to_char(transaction_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS_FF3');
ALTER TABLE changed ADD COLUMN y text;
SELECT electric.table_changed('changed'::regclass);
COMMIT;
SELECT checks.matches('a version of the same millisecond', version, '^[0-9]{14}_[0-9]{3}_[0-9]+$') FROM electric.ddl_commands ORDER BY id DESC LIMIT 1;
CALL electric.unelectrify('changed');
SELECT checks.is('what nobody else may is not needed to take a table out', count(*)::text, '0') FROM electric.electrified WHERE table_name = 'changed';

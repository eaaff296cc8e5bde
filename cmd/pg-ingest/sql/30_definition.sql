-- A table as the catalogs have it, as JSON: what clients' schemas are made from.
-- Names inside expressions come out qualified, since only pg_catalog is on the path here; constants in them as the WAL's
-- decoder writes values.

-- The type under a domain, which may be over another domain.
CREATE OR REPLACE FUNCTION electric.base_type(typ oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE chain AS (
        SELECT t.oid, t.typtype, t.typbasetype FROM pg_type AS t WHERE t.oid = typ
        UNION ALL
        SELECT t.oid, t.typtype, t.typbasetype
          FROM chain AS c JOIN pg_type AS t ON c.typtype = 'd' AND t.oid = c.typbasetype)
    SELECT oid FROM chain WHERE typtype <> 'd'
$$;

-- varchar(64) -> [64], numeric(10,2) -> [10, 2]: read from the type as it is printed, which holds for every type.
CREATE OR REPLACE FUNCTION electric.type_size(typ oid, typmod integer) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        (SELECT ('[' || found[1] || ']')::jsonb
           FROM regexp_match(regexp_replace(format_type(typ, typmod), '"[^"]*"', '', 'g'),
                             '\((-?[0-9]+(?:,-?[0-9]+)*)\)') AS found
          WHERE typmod >= 0 AND found IS NOT NULL), '[]')
$$;

CREATE OR REPLACE FUNCTION electric.column_definitions(tab oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
               'num',      a.attnum,
               'name',     a.attname,
               'type',     coalesce(element.typname, t.typname),
               'array',    CASE WHEN element.oid IS NOT NULL THEN true END,
               'type_oid', a.atttypid::bigint,
               'typtype',  t.typtype,
               'base',     CASE WHEN t.typtype = 'd' THEN (SELECT b.typname FROM pg_type AS b
                                                            WHERE b.oid = electric.base_type(t.oid)) END,
               'category', t.typcategory,
               'not_null', a.attnotnull,
               'identity', a.attidentity))
           || jsonb_build_object(
               'size',      electric.type_size(a.atttypid, a.atttypmod),
               'default',   CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
               'generated', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END)
           ORDER BY a.attnum), '[]')
      FROM pg_attribute AS a
      JOIN pg_type AS t ON t.oid = a.atttypid
      LEFT JOIN pg_type AS element ON element.oid = t.typelem AND t.typcategory = 'A' AND t.typtype = 'b'
      LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid = tab AND a.attnum > 0 AND NOT a.attisdropped
$$;

CREATE OR REPLACE FUNCTION electric.column_names(tab oid, nums int2[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(a.attname ORDER BY n.pos), '[]')
      FROM unnest(nums) WITH ORDINALITY AS n (num, pos)
      JOIN pg_attribute AS a ON a.attrelid = tab AND a.attnum = n.num
$$;

CREATE OR REPLACE FUNCTION electric.foreign_key_action(letter "char") RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE letter WHEN 'a' THEN 'NO ACTION' WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE'
                       WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END
$$;

CREATE OR REPLACE FUNCTION electric.constraint_definitions(tab oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(
               jsonb_build_object('name', c.conname, 'kind', c.contype,
                                  'columns', electric.column_names(c.conrelid, c.conkey))
               || CASE c.contype
                  WHEN 'f' THEN jsonb_build_object(
                      'ref_schema',  n.nspname,
                      'ref_table',   r.relname,
                      'ref_columns', electric.column_names(c.confrelid, c.confkey),
                      'on_delete',   electric.foreign_key_action(c.confdeltype),
                      'on_update',   electric.foreign_key_action(c.confupdtype))
                  WHEN 'c' THEN jsonb_build_object('expression', pg_get_expr(c.conbin, c.conrelid))
                  ELSE '{}' END
               ORDER BY c.contype, c.conname), '[]')
      FROM pg_constraint AS c
      LEFT JOIN pg_class AS r ON r.oid = c.confrelid
      LEFT JOIN pg_namespace AS n ON n.oid = r.relnamespace
     WHERE c.conrelid = tab AND c.contype IN ('p', 'u', 'f', 'c')
$$;

-- Indexes that back a constraint are told as that constraint.
CREATE OR REPLACE FUNCTION electric.index_definitions(tab oid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object(
               'name',    c.relname,
               'unique',  i.indisunique,
               'method',  m.amname,
               'columns', (SELECT jsonb_agg(
                                      CASE WHEN a.attnum IS NULL
                                           THEN jsonb_build_object('expression',
                                                                   pg_get_indexdef(i.indexrelid, k.pos, false))
                                           ELSE jsonb_build_object('name', a.attname) END
                                      || jsonb_build_object('desc', (i.indoption[k.pos - 1] & 1) = 1)
                                      ORDER BY k.pos)
                             FROM generate_series(1, i.indnkeyatts) AS k (pos)
                             LEFT JOIN pg_attribute AS a
                                    ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.pos - 1] AND a.attnum <> 0),
               'where',   pg_get_expr(i.indpred, i.indrelid))
               ORDER BY c.relname), '[]')
      FROM pg_index AS i
      JOIN pg_class AS c ON c.oid = i.indexrelid
      JOIN pg_am AS m ON m.oid = c.relam
     WHERE i.indrelid = tab AND i.indisvalid
       AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
$$;

CREATE OR REPLACE FUNCTION electric.table_definition(tab oid) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET DateStyle = ISO SET IntervalStyle = postgres SET TimeZone = 'UTC' AS $$
    SELECT jsonb_build_object(
               'oid',         c.oid::bigint,
               'schema',      n.nspname,
               'name',        c.relname,
               'columns',     electric.column_definitions(c.oid),
               'pks',         coalesce((SELECT electric.column_names(p.conrelid, p.conkey)
                                          FROM pg_constraint AS p
                                         WHERE p.conrelid = c.oid AND p.contype = 'p'), '[]'),
               'constraints', electric.constraint_definitions(c.oid),
               'indexes',     electric.index_definitions(c.oid))
      FROM pg_class AS c
      JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = tab
$$;

-- The same as statements, for people who look into ddl_commands.
CREATE OR REPLACE FUNCTION electric.table_as_sql(tab oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH lines AS (
        SELECT 1 AS part, a.attnum AS pos,
               format('    %I %s', a.attname, format_type(a.atttypid, a.atttypmod))
               || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
               || CASE WHEN a.attidentity = 'a' THEN ' GENERATED ALWAYS AS IDENTITY'
                       WHEN a.attidentity = 'd' THEN ' GENERATED BY DEFAULT AS IDENTITY'
                       WHEN a.attgenerated <> ''
                       THEN format(' GENERATED ALWAYS AS (%s) STORED', pg_get_expr(d.adbin, tab))
                       WHEN d.adbin IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(d.adbin, tab)
                       ELSE '' END AS line
          FROM pg_attribute AS a
          LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = tab AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT 2, row_number() OVER (ORDER BY c.contype, c.conname),
               format('    CONSTRAINT %I %s', c.conname, pg_get_constraintdef(c.oid))
          FROM pg_constraint AS c
         WHERE c.conrelid = tab AND c.contype IN ('p', 'u', 'f', 'c'))
    SELECT format(E'CREATE TABLE %s (\n%s\n);\n', tab::regclass,
                  (SELECT string_agg(line, E',\n' ORDER BY part, pos) FROM lines))
           || coalesce((SELECT string_agg(format(E'%s;\n', pg_get_indexdef(i.indexrelid)), '' ORDER BY i.indexrelid)
                          FROM pg_index AS i
                         WHERE i.indrelid = tab AND i.indisvalid
                           AND NOT EXISTS (SELECT FROM pg_constraint AS k
                                            WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))), '')
$$;

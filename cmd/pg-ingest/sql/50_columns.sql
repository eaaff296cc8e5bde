-- What the generators of code need to know of a table: its columns, ready to be put into SQL.
-- All names come out quoted and, where they are not of pg_catalog, qualified: generated code relies on no search_path.

--   num        attnum: the subscript in arrays of values and tombstones; tags are one further, base is first
--   name       the column
--   key_pos    its place in the primary key, or NULL
--   key_type   for keys: the type of the shadow table's column
--   key_equal  for keys: the equality operator of the primary key's index
--   cast_type  what a text is cast to. Without length: the assignment to the column checks it, a cast would cut.
--              Without domain, for the same reason
--   fallback   the DEFAULT as an expression of that type
--   generated  Postgres computes it, nobody writes it
--   always     an identity that Postgres lets nobody update
--   plain      equal values are identical, so that "=" tells whether a column changed
CREATE OR REPLACE FUNCTION electric.columns_of(tab oid)
RETURNS TABLE (num integer, name text, key_pos integer, key_type text, key_equal text, cast_type text,
               fallback text, generated boolean, always boolean, plain boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.attnum, quote_ident(a.attname), k.pos,
           format_type(a.atttypid, a.atttypmod)
           || CASE WHEN a.attcollation <> t.typcollation THEN format(' COLLATE %I.%I', cn.nspname, co.collname)
                   ELSE '' END,
           k.equal,
           format_type(electric.base_type(a.atttypid), -1),
           format('(%s)::%s',
                  coalesce(CASE WHEN a.attidentity <> ''
                                THEN format('nextval(%L::regclass)',
                                            pg_get_serial_sequence(tab::regclass::text, a.attname)) END,
                           pg_get_expr(d.adbin, d.adrelid),
                           pg_get_expr(t.typdefaultbin, 0),
                           'NULL'),
                  format_type(electric.base_type(a.atttypid), -1)),
           a.attgenerated <> '', a.attidentity = 'a',
           a.atttypid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'text'::regtype,
                          'varchar'::regtype, 'uuid'::regtype, 'date'::regtype, 'time'::regtype,
                          'timestamp'::regtype, 'timestamptz'::regtype, 'bytea'::regtype)
           AND coalesce(co.collisdeterministic, true)
      FROM pg_attribute AS a
      JOIN pg_type AS t ON t.oid = a.atttypid
      LEFT JOIN pg_collation AS co ON co.oid = a.attcollation
      LEFT JOIN pg_namespace AS cn ON cn.oid = co.collnamespace
      LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      LEFT JOIN (SELECT i.indrelid, i.indkey[p.pos - 1] AS attnum, p.pos,
                        format('OPERATOR(%I.%s)', n.nspname, o.oprname) AS equal
                   FROM pg_index AS i
                  CROSS JOIN generate_series(1, i.indnkeyatts) AS p (pos)
                   JOIN pg_opclass AS c ON c.oid = i.indclass[p.pos - 1]
                   JOIN pg_amop AS m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
                                    AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
                   JOIN pg_operator AS o ON o.oid = m.amopopr
                   JOIN pg_namespace AS n ON n.oid = o.oprnamespace
                  WHERE i.indisprimary) AS k ON k.indrelid = a.attrelid AND k.attnum = a.attnum
     WHERE a.attrelid = tab AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attnum
$$;

-- ARRAY[...] of one expression for each attnum, 'NULL' where there is none, so that subscripts are attnums.
CREATE OR REPLACE FUNCTION electric.array_by_num(nums integer[], expressions text[], indent integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('ARRAY[%s]',
                  string_agg(coalesce(e.expression, 'NULL'), E',\n' || repeat(' ', indent + 6) ORDER BY n.num))
      FROM generate_series(1, (SELECT max(num) FROM unnest(nums) AS num)) AS n (num)
      LEFT JOIN unnest(nums, expressions) AS e (num, expression) ON e.num = n.num
$$;

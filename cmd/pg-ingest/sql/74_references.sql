-- Foreign keys of rows that were merged with their triggers off.
--
--   electric.check_references(tab, rows)   rows: text[] literals by attnum, in the text of an array: tables without
--     foreign keys do not have it read. As they were written or were until they were deleted. Raises foreign_key_violation where
--     one lacks its parent, or where one that is gone has children. Parents stay until the transaction ends

DROP FUNCTION IF EXISTS electric.check_references(oid, text[]);

CREATE OR REPLACE FUNCTION electric.check_references(tab oid, rows text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    fk     record;
    broken boolean;
BEGIN
    FOR fk IN
        SELECT c.conname, c.conrelid, c.confrelid,
               string_agg(format('p.%I = o.%I', pa.attname, oa.attname), ' AND ') AS refers,
               string_agg(format('o.%I IS NOT NULL', oa.attname), ' AND ') AS complete,
               CASE WHEN c.conrelid = tab THEN
                   (SELECT string_agg(format('o.%s %s ((u.v)[%s])::%s', k.name, k.key_equal, k.num, k.cast_type), ' AND ')
                      FROM electric.columns_of(tab) AS k WHERE k.key_pos IS NOT NULL) END AS is_row,
               string_agg(format('o.%I = ((u.v)[%s])::%s', oa.attname, pa.attnum,
                                 format_type(electric.base_type(pa.atttypid), -1)), ' AND ') AS was_parent
          FROM pg_constraint AS c
         CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS k (own, other)
          JOIN pg_attribute AS oa ON oa.attrelid = c.conrelid AND oa.attnum = k.own
          JOIN pg_attribute AS pa ON pa.attrelid = c.confrelid AND pa.attnum = k.other
         WHERE c.contype = 'f' AND tab IN (c.conrelid, c.confrelid)
         GROUP BY c.oid
    LOOP
        IF fk.is_row IS NOT NULL THEN
            EXECUTE format('SELECT count(*) FROM (SELECT FROM (SELECT r::text[] AS v FROM unnest($1) AS r) AS u '
                           'JOIN %s AS o ON %s JOIN %s AS p ON %s FOR KEY SHARE OF p) AS locked',
                           fk.conrelid::regclass, fk.is_row, fk.confrelid::regclass, fk.refers) USING rows::text[];
            EXECUTE format('SELECT EXISTS (SELECT FROM (SELECT r::text[] AS v FROM unnest($1) AS r) AS u JOIN %s AS o ON %s '
                           'WHERE %s AND NOT EXISTS (SELECT FROM %s AS p WHERE %s))',
                           fk.conrelid::regclass, fk.is_row, fk.complete, fk.confrelid::regclass, fk.refers)
               INTO broken USING rows::text[];
        END IF;
        IF broken IS NOT TRUE AND fk.confrelid = tab THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM (SELECT r::text[] AS v FROM unnest($1) AS r) AS u JOIN %s AS o ON %s '
                           'WHERE NOT EXISTS (SELECT FROM %s AS p WHERE %s))',
                           fk.conrelid::regclass, fk.was_parent, fk.confrelid::regclass, fk.refers)
               INTO broken USING rows::text[];
        END IF;
        IF broken THEN
            RAISE EXCEPTION 'foreign key constraint % would be broken', quote_ident(fk.conname)
                USING ERRCODE = 'foreign_key_violation';
        END IF;
    END LOOP;
END
$$;

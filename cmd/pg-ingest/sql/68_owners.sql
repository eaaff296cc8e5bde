-- Rows of a table with a column electric_user_id belong to that user; without a value, to everybody. A client writes
-- rows that are its user's or everybody's, before as well as after.

-- The attnum of that column; NULL: the table's rows have no owners.
CREATE OR REPLACE FUNCTION electric.owner_num(tab oid) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.attnum
      FROM pg_attribute AS a
     WHERE a.attrelid = tab AND a.attname = 'electric_user_id' AND a.attnum > 0 AND NOT a.attisdropped
$$;

-- Raises an error unless the row is one of the user whose transaction is being applied, who stands in electric.user_id.
-- Nobody there: a person has a refused transaction applied again, and may.
CREATE OR REPLACE FUNCTION electric.check_owner(owner text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF owner <> '' AND owner <> current_setting('electric.user_id', true)
       AND current_setting('electric.user_id', true) <> '' THEN
        RAISE EXCEPTION 'a row of another user' USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;

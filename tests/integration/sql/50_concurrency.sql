-- For several sessions at once: clients and Postgres write the same few rows. Nothing may deadlock, and afterwards
-- every row that exists has tags, and every other has none and a tombstone.

CREATE TABLE busy (id int PRIMARY KEY, a text, b text);
CALL electric.electrify('busy');

CREATE PROCEDURE checks.write_busily(who text, times int) LANGUAGE plpgsql AS $$
DECLARE
    key  int;
    seen text;
BEGIN
    FOR n IN 1..times LOOP
        key := (random() * 3)::int;
        BEGIN
            IF who <> 'pg' THEN
                SELECT string_agg(coalesce(t.source, 'pg') || '@' || t.ms, ' ') INTO seen
                  FROM electric.shadow__public__busy AS s, unnest(s._tags) AS t WHERE s.k1 = key;
                PERFORM checks.client('busy', CASE WHEN random() < 0.4 THEN 'delete' ELSE 'update' END, format('%s@%s', who, n),
                                      coalesce(seen, ''), ARRAY[key::text, who || n, 'b'], CASE WHEN random() < 0.5 THEN 'a' ELSE '*' END);
            ELSIF random() < 0.3 THEN
                INSERT INTO busy VALUES (key, 'pg' || n) ON CONFLICT DO NOTHING;
            ELSIF random() < 0.5 THEN
                UPDATE busy SET a = 'pg' || n WHERE id = key;
            ELSE
                DELETE FROM busy WHERE id = key;
            END IF;
        EXCEPTION WHEN serialization_failure THEN
            NULL;   -- a client's writer tries again
        END;
        COMMIT;
    END LOOP;
END
$$;

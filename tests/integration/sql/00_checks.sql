-- What the tests below share: checks that print their outcome, and short ways to say and to show operations.

CREATE SCHEMA checks;

CREATE FUNCTION checks.is(name text, got text, expected text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN got IS NOT DISTINCT FROM expected THEN 'ok - ' || name
                ELSE format('not ok - %s: expected %s got %s', name, coalesce(expected, 'NULL'), coalesce(got, 'NULL')) END
$$;

CREATE FUNCTION checks.matches(name text, got text, pattern text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN got ~ pattern THEN 'ok - ' || name
                ELSE format('not ok - %s: expected match of %s got %s', name, pattern, coalesce(got, 'NULL')) END
$$;

-- The error that a statement ends with, and whether one more try would help; its effects are undone.
CREATE FUNCTION checks.error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION
    WHEN serialization_failure THEN RETURN 'try again';
    WHEN OTHERS THEN RETURN SQLERRM;
END
$$;

-- Times by name, so that tags of Postgres can be expected: P, P2, ... are transactions' times, F is a day after P.
CREATE TABLE checks.moments (name text PRIMARY KEY, ms bigint NOT NULL);

CREATE FUNCTION checks.now_is(moment text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO checks.moments VALUES (moment, electric.now_ms())
    ON CONFLICT (name) DO UPDATE SET ms = EXCLUDED.ms
$$;

-- A@1000, pg@P, A@F+1000 -> a tag, and back
CREATE FUNCTION checks.tag(said text) RETURNS electric.tag LANGUAGE sql AS $$
    SELECT ROW(coalesce((SELECT m.ms FROM checks.moments AS m WHERE m.name = part[2]), part[2]::bigint)
               + coalesce(part[3], '0')::bigint,
               nullif(part[1], 'pg'))::electric.tag
      FROM regexp_match(said, '^(\w+)@(\w+)(\+\d+)?$') AS part
$$;

CREATE FUNCTION checks.say(tag electric.tag) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN tag IS NULL THEN '-' ELSE
        coalesce((tag).source, 'pg') || '@'
        || coalesce((SELECT m.name || CASE WHEN m.ms < (tag).ms THEN format('+%s', (tag).ms - m.ms) ELSE '' END
                       FROM checks.moments AS m WHERE (tag).ms BETWEEN m.ms AND m.ms + 1000
                      ORDER BY m.ms DESC LIMIT 1), (tag).ms::text) END
$$;

CREATE FUNCTION checks.tags(said text) RETURNS electric.tag[] LANGUAGE sql AS $$
    SELECT ARRAY(SELECT checks.tag(t) FROM unnest(string_to_array(said, ' ')) AS t)
$$;

CREATE FUNCTION checks.shadow_of(tab regclass) RETURNS text LANGUAGE sql AS $$
    SELECT e.shadow::regclass::text FROM electric.electrified AS e WHERE e.oid = tab
$$;

-- One operation of a client: its row as a record of the table, and the columns that it claims, comma separated.
-- Columns after ! are those that it has never heard of.
CREATE FUNCTION checks.client(tab regclass, operation text, said_tag text, observed text, row_text text[], claimed text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    claims boolean[];
BEGIN
    SELECT array_agg(CASE WHEN a.attname = ANY (string_to_array(split_part(claimed, '!', 2), ',')) THEN NULL
                          ELSE operation <> 'delete'
                               AND (claimed = '*' OR a.attname = ANY (string_to_array(split_part(claimed, '!', 1), ','))) END
                     ORDER BY a.attnum)
      INTO claims
      FROM pg_attribute AS a WHERE a.attrelid = tab AND a.attnum > 0;
    EXECUTE format('SELECT electric.apply_%s($1, $2, $3, $4, $5)', tab::oid)
      USING operation = 'delete', checks.tag(said_tag), checks.tags(observed), row_text, claims;
END
$$;

-- A row as "(values) {tags} column=tag ...": what the table holds, or "absent", and what its shadow knows.
-- The keys are given as the shadow has them.
CREATE FUNCTION checks.state(tab regclass, key text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    main   text;
    shadow record;
    keys   text;
BEGIN
    SELECT string_agg(format('m.%I', a.attname), ', ' ORDER BY array_position(c.conkey, a.attnum))
      INTO keys
      FROM pg_constraint AS c JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
     WHERE c.conrelid = tab AND c.contype = 'p';
    EXECUTE format('SELECT ROW(m.*)::text FROM %s AS m WHERE ROW(%s)::text = $1', tab, keys) INTO main USING '(' || key || ')';
    SELECT string_agg(format('s.k%s', n), ', ') INTO keys
      FROM pg_constraint AS c, generate_series(1, cardinality(c.conkey)) AS n WHERE c.conrelid = tab AND c.contype = 'p';
    EXECUTE format('SELECT s._tags, s._column_tags FROM %s AS s WHERE ROW(%s)::text = $1', checks.shadow_of(tab), keys)
       INTO shadow USING '(' || key || ')';
    RETURN coalesce(main, 'absent')
           || CASE WHEN shadow._tags IS NULL THEN ' no shadow' ELSE format(' {%s}',
                  (SELECT string_agg(checks.say(t), ' ' ORDER BY n) FROM unnest(shadow._tags) WITH ORDINALITY AS u (ms, source, n),
                          LATERAL (SELECT ROW(u.ms, u.source)::electric.tag) AS x (t))) END
           || coalesce((SELECT string_agg(format(' %s=%s', a.attname,
                                  checks.say(coalesce(shadow._column_tags[a.attnum + 1], shadow._column_tags[1]))), '' ORDER BY a.attnum)
                          FROM pg_attribute AS a
                         WHERE a.attrelid = tab AND a.attnum > 0 AND NOT a.attisdropped AND shadow._tags IS NOT NULL
                           AND NOT EXISTS (SELECT FROM pg_constraint AS c
                                            WHERE c.conrelid = tab AND c.contype = 'p' AND a.attnum = ANY (c.conkey))), '');
END
$$;

-- Arithmetic on tags, for the code that is generated for each table.

-- The time of a Postgres write: that of its transaction.
CREATE OR REPLACE FUNCTION electric.now_ms() RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.floor(extract(epoch FROM pg_catalog.transaction_timestamp()) OPERATOR(pg_catalog.*) 1000)::bigint
$$;

-- The set of tags without those of another set, in its order.
CREATE OR REPLACE FUNCTION electric.tags_without(tags electric.tag[], others electric.tag[]) RETURNS electric.tag[]
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    other electric.tag;
BEGIN
    FOREACH other IN ARRAY others LOOP
        tags := pg_catalog.array_remove(tags, other);
    END LOOP;
    RETURN tags;
END
$$;

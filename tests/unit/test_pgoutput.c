/*
 * pgoutput's messages, whole, cut short and damaged.
 *
 * Links cmd/pg-ingest/pgoutput.o.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../cmd/pg-ingest/pgoutput.h"
#include "buf.h"
#include "xalloc.h"

static struct arena arena;
static struct buf b;

static void
setup(void)
{
	buf_clear(&b);
}

static void
teardown(void)
{
	arena_clear(&arena);
	buf_clear(&b);
}

static void
put_8(unsigned v)
{
	uint8_t byte = (uint8_t)v;

	buf_put(&b, &byte, 1);
}

static void
put_16(unsigned v)
{
	put_8(v >> 8);
	put_8(v);
}

static void
put_64(uint64_t v)
{
	buf_put_be32(&b, (uint32_t)(v >> 32));
	buf_put_be32(&b, (uint32_t)v);
}

static void
put_string(const char *s)
{
	buf_put(&b, s, strlen(s) + 1);
}

static void
put_text(const char *s)
{
	put_8('t');
	buf_put_be32(&b, (uint32_t)strlen(s));
	buf_puts(&b, s);
}

/* Decodes what was put: from memory of exactly that size, so that a sanitizer sees any step beyond it. */
static bool
decode(struct pgo *m)
{
	static uint8_t *exact;

	free(exact);
	exact = xmalloc(b.len);
	memcpy(exact, buf_data(&b), b.len);
	return pgo_decode(&arena, exact, b.len, m);
}

/* Every shorter message, and one that is longer, is refused. */
static void
check_length(void)
{
	struct pgo m;
	size_t whole = b.len;

	for (size_t n = 0; n < whole; n++) {
		b.len = n;
		ck_assert_msg(!decode(&m), "accepted %zu of %zu bytes", n, whole);
	}
	b.len = whole;
	put_8(0);
	ck_assert(!decode(&m));
}

START_TEST(begin_and_commit)
{
	struct pgo m;

	put_8('B');
	put_64(UINT64_C(0x0102030405060708));
	put_64(5);
	buf_put_be32(&b, 0xfffffff0u);
	ck_assert(decode(&m));
	ck_assert_int_eq(m.kind, PGO_BEGIN);
	ck_assert_uint_eq(m.begin.final_lsn, UINT64_C(0x0102030405060708));
	ck_assert_int_eq(m.begin.time, 5);
	ck_assert_uint_eq(m.begin.xid, 0xfffffff0u);
	check_length();

	setup();
	put_8('C');
	put_8(0);
	put_64(10);
	put_64(20);
	put_64((uint64_t)-3);
	ck_assert(decode(&m));
	ck_assert_uint_eq(m.commit.commit_lsn, 10);
	ck_assert_uint_eq(m.commit.end_lsn, 20);
	ck_assert_int_eq(m.commit.time, -3);
	check_length();
}
END_TEST

START_TEST(relation)
{
	struct pgo m;

	put_8('R');
	buf_put_be32(&b, 16384);
	put_string("public");
	put_string("t");
	put_8('f');
	put_16(2);
	put_8(1);
	put_string("id");
	buf_put_be32(&b, 23);
	buf_put_be32(&b, 0xffffffffu);
	put_8(0);
	put_string("name");
	buf_put_be32(&b, 25);
	buf_put_be32(&b, 0xffffffffu);
	ck_assert(decode(&m));
	ck_assert_uint_eq(m.relation.id, 16384);
	ck_assert_str_eq(m.relation.schema, "public");
	ck_assert_str_eq(m.relation.name, "t");
	ck_assert_int_eq(m.relation.identity, 'f');
	ck_assert_uint_eq(m.relation.n_columns, 2);
	ck_assert_str_eq(m.relation.columns[0], "id");
	ck_assert_str_eq(m.relation.columns[1], "name");
	check_length();
}
END_TEST

static void
put_tuple(void)
{
	put_16(4);
	put_8('n');
	put_8('u');
	put_text("value");
	put_text("");
}

static void
check_tuple(const struct pgo_tuple *t)
{
	ck_assert_uint_eq(t->n, 4);
	ck_assert_ptr_null(t->values[0].text);
	ck_assert(!t->values[0].unchanged);
	ck_assert_ptr_null(t->values[1].text);
	ck_assert(t->values[1].unchanged);
	ck_assert_uint_eq(t->values[2].len, 5);
	ck_assert_mem_eq(t->values[2].text, "value", 5);
	ck_assert_ptr_nonnull(t->values[3].text);
	ck_assert_uint_eq(t->values[3].len, 0);
}

START_TEST(rows)
{
	static const struct {
		char kind, old;
		bool row;
	} cases[] = { { 'I', 0, true }, { 'U', 0, true }, { 'U', 'O', true }, { 'U', 'K', true },
		{ 'D', 'O', false }, { 'D', 'K', false } };

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pgo m;

		setup();
		put_8((unsigned char)cases[i].kind);
		buf_put_be32(&b, 7);
		if (cases[i].old != 0) {
			put_8((unsigned char)cases[i].old);
			put_tuple();
		}
		if (cases[i].row) {
			put_8('N');
			put_tuple();
		}
		ck_assert(decode(&m));
		ck_assert_int_eq(m.kind, cases[i].kind);
		ck_assert_uint_eq(m.row.relation, 7);
		ck_assert_int_eq(m.row.old_kind, cases[i].old);
		if (cases[i].old != 0)
			check_tuple(&m.row.old);
		if (cases[i].row)
			check_tuple(&m.row.row);
		check_length();
	}
}
END_TEST

START_TEST(message_and_truncate)
{
	struct pgo m;

	put_8('M');
	put_8(1);
	put_64(99);
	put_string("electric");
	buf_put_be32(&b, 3);
	buf_put(&b, "a\0b", 3);
	ck_assert(decode(&m));
	ck_assert(m.message.transactional);
	ck_assert_uint_eq(m.message.lsn, 99);
	ck_assert_str_eq(m.message.prefix, "electric");
	ck_assert_uint_eq(m.message.len, 3);
	ck_assert_mem_eq(m.message.content, "a\0b", 3);
	check_length();

	setup();
	put_8('T');
	buf_put_be32(&b, 2);
	put_8(0);
	buf_put_be32(&b, 5);
	buf_put_be32(&b, 6);
	ck_assert(decode(&m));
	ck_assert_uint_eq(m.truncate.n, 2);
	ck_assert_uint_eq(be32_get(m.truncate.relations + 4), 6);
	check_length();
}
END_TEST

START_TEST(counts_that_lie)
{
	struct pgo m;

	put_8('T');
	buf_put_be32(&b, 0xffffffffu);
	put_8(0);
	ck_assert(!decode(&m));

	setup();
	put_8('I');
	buf_put_be32(&b, 7);
	put_8('N');
	put_16(0xffff);
	put_8('n');
	ck_assert(!decode(&m));

	setup();
	put_8('I');
	buf_put_be32(&b, 7);
	put_8('N');
	put_16(1);
	put_8('t');
	buf_put_be32(&b, 0xffffffffu);
	put_8('x');
	ck_assert(!decode(&m));

	setup();
	put_8('?');
	ck_assert(!decode(&m));
}
END_TEST

/* Whatever comes, it ends. */
START_TEST(noise)
{
	static const char kinds[] = "BCRIUDTMOY";
	struct pgo m;

	srand(1);
	for (int i = 0; i < 200000; i++) {
		size_t n = (size_t)rand() % 64;

		setup();
		put_8((unsigned char)kinds[rand() % 10]);
		for (size_t k = 0; k < n; k++)
			put_8(rand() % 3 == 0 ? (unsigned)rand()
					      : (unsigned char)"\0\0\1\2tunNOK"[rand() % 10]);
		decode(&m);
		arena_reset(&arena);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pgoutput");
	TCase *c = tcase_create("pgoutput");
	SRunner *r;
	int failed;

	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, begin_and_commit);
	tcase_add_test(c, relation);
	tcase_add_test(c, rows);
	tcase_add_test(c, message_and_truncate);
	tcase_add_test(c, counts_that_lie);
	tcase_add_test(c, noise);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

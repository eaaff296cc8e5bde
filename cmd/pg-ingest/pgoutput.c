/* The messages of pgoutput. */
#include "pgoutput.h"

#include <string.h>

#include "buf.h"

/* Reading never goes past end; once something is missing, `bad` stays set and zeros come out. */
struct reader {
	const uint8_t *at, *end;
	bool bad;
};

static const uint8_t *
take(struct reader *r, size_t n)
{
	const uint8_t *p = r->at;

	if (r->bad || (size_t)(r->end - r->at) < n) {
		r->bad = true;
		return NULL;
	}
	r->at += n;
	return p;
}

static uint8_t
take_8(struct reader *r)
{
	const uint8_t *p = take(r, 1);

	return p != NULL ? p[0] : 0;
}

static unsigned
take_16(struct reader *r)
{
	const uint8_t *p = take(r, 2);

	return p != NULL ? (unsigned)p[0] << 8 | p[1] : 0;
}

static uint32_t
take_32(struct reader *r)
{
	const uint8_t *p = take(r, 4);

	return p != NULL ? be32_get(p) : 0;
}

static uint64_t
take_64(struct reader *r)
{
	const uint8_t *p = take(r, 8);

	return p != NULL ? be64_get(p) : 0;
}

static const char *
take_string(struct reader *r)
{
	const uint8_t *nul = r->bad ? NULL : memchr(r->at, 0, (size_t)(r->end - r->at));

	if (nul == NULL) {
		r->bad = true;
		return "";
	}
	return (const char *)take(r, (size_t)(nul - r->at) + 1);
}

static void
take_tuple(struct reader *r, struct arena *a, struct pgo_tuple *t)
{
	t->n = take_16(r);
	/* A column takes a byte at least. */
	if (r->bad || (size_t)(r->end - r->at) < t->n) {
		r->bad = true;
		t->n = 0;
		return;
	}
	t->values = arena_zalloc(a, t->n * sizeof *t->values);
	for (unsigned i = 0; i < t->n; i++) {
		struct pgo_value *v = &t->values[i];

		switch (take_8(r)) {
		case 'n':
			break;
		case 'u':
			v->unchanged = true;
			break;
		case 't':
			v->len = take_32(r);
			v->text = take(r, v->len);
			break;
		default:
			r->bad = true;
			return;
		}
	}
}

static void
take_relation(struct reader *r, struct arena *a, struct pgo_relation *rel)
{
	rel->id = take_32(r);
	rel->schema = take_string(r);
	rel->name = take_string(r);
	rel->identity = (char)take_8(r);
	rel->n_columns = take_16(r);
	if (r->bad || (size_t)(r->end - r->at) < rel->n_columns) {
		r->bad = true;
		rel->n_columns = 0;
		return;
	}
	/* pg_catalog travels as an empty name. */
	if (rel->schema[0] == '\0')
		rel->schema = "pg_catalog";
	rel->columns = arena_alloc(a, rel->n_columns * sizeof *rel->columns);
	for (unsigned i = 0; i < rel->n_columns; i++) {
		take_8(r); /* whether it is of the key */
		rel->columns[i] = take_string(r);
		take_32(r); /* type */
		take_32(r); /* its modifier */
	}
}

static void
take_row(struct reader *r, struct arena *a, enum pgo_kind kind, struct pgo_row *row)
{
	uint8_t mark;

	row->relation = take_32(r);
	mark = take_8(r);
	if (kind != PGO_INSERT && (mark == 'O' || mark == 'K')) {
		row->old_kind = (char)mark;
		take_tuple(r, a, &row->old);
		if (kind == PGO_DELETE)
			return;
		mark = take_8(r);
	}
	if (mark != 'N' || kind == PGO_DELETE)
		r->bad = true;
	else
		take_tuple(r, a, &row->row);
}

static void
take_message(struct reader *r, struct pgo_message *m)
{
	m->transactional = take_8(r) & 1;
	m->lsn = take_64(r);
	m->prefix = take_string(r);
	m->len = take_32(r);
	m->content = take(r, m->len);
}

bool
pgo_decode(struct arena *a, const uint8_t *bytes, size_t n, struct pgo *out)
{
	struct reader r = { bytes, bytes + n, false };

	memset(out, 0, sizeof *out);
	out->kind = (enum pgo_kind)take_8(&r);
	switch (out->kind) {
	case PGO_BEGIN:
		out->begin.final_lsn = take_64(&r);
		out->begin.time = (int64_t)take_64(&r);
		out->begin.xid = take_32(&r);
		break;
	case PGO_COMMIT:
		take_8(&r); /* flags, none are defined */
		out->commit.commit_lsn = take_64(&r);
		out->commit.end_lsn = take_64(&r);
		out->commit.time = (int64_t)take_64(&r);
		break;
	case PGO_RELATION:
		take_relation(&r, a, &out->relation);
		break;
	case PGO_INSERT:
	case PGO_UPDATE:
	case PGO_DELETE:
		take_row(&r, a, out->kind, &out->row);
		break;
	case PGO_TRUNCATE:
		out->truncate.n = take_32(&r);
		take_8(&r); /* options */
		out->truncate.relations =
		    out->truncate.n > n / 4 ? NULL : take(&r, (size_t)out->truncate.n * 4);
		if (out->truncate.relations == NULL)
			return false;
		break;
	case PGO_MESSAGE:
		take_message(&r, &out->message);
		break;
	case PGO_ORIGIN:
	case PGO_TYPE:
		return !r.bad;
	default:
		return false;
	}
	return !r.bad && r.at == r.end;
}

/* One transaction of Postgres on its way into the log: taking it out as Transactions. */
#include "fold.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "definition.h"
#include "fold_state.h"
#include "pbwire.h"
#include "spool.h"

#define DESCRIBED_MAX 64	   /* tables in one part */
#define PART	      (256 * 1024) /* bytes of changes in one part, but for one longer change */

static struct arena scratch; /* of the change that is being packed */

/*
 * Changes after the transaction's migration are told in the columns that the migration leaves, even between
 * two of its statements: those are what clients know by then.
 */
static const struct table_def *
def_to_tell(const struct change *c)
{
	const struct relation *rel = catalog_relation(c->relation);

	return fold.migrated && rel != NULL && rel->def != NULL &&
		       strcmp(rel->def->version, fold.version) == 0
		   ? rel->def
		   : c->def;
}

/* What a row that was there got in a column when it was added. */
static struct sat_value
missing_value(const struct table_def *def, uint32_t num)
{
	const json_t *columns = json_object_get(def->json, "columns");

	for (size_t i = 0; i < json_array_size(columns); i++) {
		const json_t *c = json_array_get(columns, i);
		const char *text = text_of(c, "missing");

		if (text != NULL && json_integer_value(json_object_get(c, "num")) == num)
			return (struct sat_value){ (const uint8_t *)text, strlen(text) };
	}
	return (struct sat_value){ NULL, 0 };
}

static const struct sat_value *
in_columns_of(const struct table_def *to, const struct table_def *from, const struct sat_value *values)
{
	struct sat_value *out;

	if (to == from || values == NULL)
		return values;
	out = arena_zalloc(&scratch, to->n_columns * sizeof *out);
	for (unsigned i = 0; i < to->n_columns; i++) {
		uint32_t num = to->table->columns[i]->num;
		unsigned k = 0;

		while (k < from->n_columns && from->table->columns[k]->num != num)
			k++;
		out[i] = k < from->n_columns ? values[k] : missing_value(to, num);
	}
	return out;
}

static void
choose_tags(const struct change *c, char ***tags, size_t *n)
{
	*tags = NULL;
	*n = 0;
	if (c->kind == CHANGE_KIND__DELETE)
		return;
	if (c->row->has_tags) {
		*tags = c->row->tags;
		*n = c->row->n_tags;
		return;
	}
	/* Written with the triggers off: by another replication into this Postgres. */
	*tags = arena_alloc(&scratch, sizeof **tags);
	(*tags)[0] = arena_printf(&scratch, SAT_POSTGRES_ORIGIN "@%" PRId64, fold.instance, fold.commit_ms);
	*n = 1;
}

static bool
has_tag(char *const *tags, size_t n, const char *tag)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(tags[i], tag) == 0)
			return true;
	return false;
}

/* Those of the one set that are not in the other, as fields of a RowState. */
static void
put_difference(struct buf *state, unsigned field, char *const *tags, size_t n, char *const *others, size_t m)
{
	for (size_t i = 0; i < n; i++)
		if (!has_tag(others, m, tags[i]))
			pb_put_bytes(state, field, tags[i], strlen(tags[i]));
}

/* What other Postgres are to know of the row. `tags`: after the transaction, none if the row is gone. */
static void
put_state(const struct change *c, char **tags, size_t n, struct buf *out)
{
	const struct row *r = c->row;
	struct buf state = { 0 };

	put_difference(&state, 1, tags, n, r->before, r->n_before);
	put_difference(&state, 2, r->before, r->n_before, tags, n);
	/* A row that nobody had written since its table was electrified. */
	if (r->is_new)
		pb_put_bytes(&state, 2, "postgres_1@0", strlen("postgres_1@0"));
	if (r->n_columns > 0) {
		pb_put_bytes(&state, 3, r->columns[0], strlen(r->columns[0]));
		for (unsigned i = 0; i < c->def->n_columns; i++) {
			uint32_t num = c->def->table->columns[i]->num;
			const char *tag = num < r->n_columns ? r->columns[num] : "";

			pb_put_bytes(&state, 3, tag, strlen(tag));
		}
	}
	pb_put_uint(&state, 4, c->forced);
	pb_put_bytes(out, 8, buf_data(&state), state.len);
	buf_clear(&state);
}

static void
pack_row(const struct change *c, struct buf *out)
{
	static const enum sat_op ops[] = { [CHANGE_KIND__INSERT] = SAT_INSERT,
		[CHANGE_KIND__UPDATE] = SAT_UPDATE,
		[CHANGE_KIND__DELETE] = SAT_DELETE };
	const struct table_def *def = def_to_tell(c);
	const struct sat_value *now = in_columns_of(def, c->def, c->now),
			       *old = in_columns_of(def, c->def, c->old);
	const struct sat_value *owner;
	ProtobufCBinaryData op;
	char **tags;
	size_t n_tags;

	choose_tags(c, &tags, &n_tags);
	op = sat_op_pack(&scratch, ops[c->kind], c->relation, now, old, def->n_columns, tags, n_tags);
	pb_put_uint(out, 1, c->kind);
	pb_put_uint(out, 2, c->relation);
	pb_put_bytes(out, 3, op.data, op.len);
	if (fold.several && c->row->last == c)
		put_state(c, tags, n_tags, out);
	if (def->owner == NO_COLUMN)
		return;
	pb_put_uint(out, 4, 1);
	owner = c->kind == CHANGE_KIND__DELETE ? &old[def->owner] : &now[def->owner];
	if (owner->len > 0)
		pb_put_bytes(out, 5, owner->text, owner->len);
	if (c->kind == CHANGE_KIND__UPDATE && old != NULL && old[def->owner].len > 0)
		pb_put_bytes(out, 6, old[def->owner].text, old[def->owner].len);
}

/* Tables that other Postgres are told of, and clients not. */
static Migration *
tables_told(const struct change *c)
{
	Migration *m = arena_alloc(&scratch, sizeof *m);

	migration__init(m);
	m->version = (char *)(uintptr_t)c->version;
	m->carry = (char *)(uintptr_t)c->carry;
	return m;
}

static void
pack_migration(const struct change *c, struct buf *out)
{
	Migration *m = c->for_instances ? tables_told(c) : catalog_migration(&scratch, fold.version);
	size_t n;
	uint8_t *bytes;

	if (!c->for_instances && fold.carry.len > 0)
		m->carry = arena_printf(&scratch, "%s]", buf_cstr(&fold.carry));
	n = migration__get_packed_size(m);
	bytes = arena_alloc(&scratch, n);

	migration__pack(m, bytes);
	pb_put_uint(out, 1, CHANGE_KIND__MIGRATE);
	pb_put_bytes(out, 7, bytes, n);
	fold.migrated |= !c->for_instances;
}

static bool
is_told(const struct section *s)
{
	return !s->was_told && (s->mark != NULL || s->first != NULL);
}

/* The next section that becomes a Transaction, from s on. */
static struct section *
next_told(struct section *s)
{
	while (s != NULL && !is_told(s))
		s = s->next;
	return s;
}

void
fold_commit(uint64_t end_lsn)
{
	fold.end_lsn = end_lsn;
	fold.committed = true;
	fold.at = next_told(fold.first);
	fold.next = fold.at != NULL ? fold.at->first : NULL;
	fold.part = 0;
	if (fold.version != NULL)
		catalog_know(fold.version);
}

bool
fold_pending(void)
{
	return fold.committed && fold.at != NULL;
}

static void
put_head(struct buf *b, const struct section *s, bool last)
{
	char origin[32];

	pb_put_uint(b, 2, fold.part);
	pb_put_uint(b, 3, last);
	pb_put_uint(b, 4, fold.instance);
	pb_put_uint(b, 5, fold.xid);
	pb_put_uint(b, 6, fold.end_lsn);
	if (s->mark != NULL) {
		pb_put_uint(b, 7, s->mark->timestamp);
		pb_put_bytes(b, 8, s->mark->client_id, strlen(s->mark->client_id));
		if (s->mark->lsn.len > 0)
			pb_put_bytes(b, 9, s->mark->lsn.data, s->mark->lsn.len);
	} else {
		snprintf(origin, sizeof origin, SAT_POSTGRES_ORIGIN, fold.instance);
		pb_put_uint(b, 7, (uint64_t)(s->newest_ms >= 0 ? s->newest_ms : fold.commit_ms));
		pb_put_bytes(b, 8, origin, strlen(origin));
	}
	pb_put_uint(b, 10, s->is_migration);
	pb_put_uint(b, 14, s->is_migration && !fold.migrated);
	if (s->only_client != NULL)
		pb_put_bytes(b, 13, s->only_client, strlen(s->only_client));
}

/* The part says what the tables of its rows are. False: it says it of too many already. */
static bool
describe(const struct table_def *def, const struct table_def **described, unsigned *n, struct buf *part)
{
	size_t size;
	uint8_t *bytes;

	for (unsigned i = 0; i < *n; i++)
		if (described[i] == def)
			return true;
	if (*n == DESCRIBED_MAX)
		return false;
	described[(*n)++] = def;
	size = table__get_packed_size(def->table);
	bytes = arena_alloc(&scratch, size);
	table__pack(def->table, bytes);
	pb_put_bytes(part, 15, bytes, size);
	return true;
}

bool
fold_take(struct buf *b)
{
	struct section *s = fold.at, *after;
	struct buf changes = { 0 }, one = { 0 };
	const struct table_def *described[DESCRIBED_MAX];
	unsigned n_described = 0;
	bool last;

	if (!fold_pending())
		return false;
	while (fold.next != NULL && changes.len < PART) {
		/* Rows of before the migration are a part of their own: their columns are others. */
		if (fold.next->kind == CHANGE_KIND__MIGRATE && changes.len > 0)
			break;
		arena_reset(&scratch);
		if (fold.next->kind == CHANGE_KIND__MIGRATE)
			pack_migration(fold.next, &one);
		else if (fold.several && !describe(def_to_tell(fold.next), described, &n_described, &changes))
			break; /* the next part has room */
		else if (fold.next->marked == NULL || !fold.next->marked->changed)
			pack_row(fold.next, &one);
		if (one.len > 0)
			pb_put_bytes(&changes, 11, buf_data(&one), one.len);
		buf_take(&one, one.len);
		fold.next = fold.next->next;
	}
	last = fold.next == NULL;
	after = last ? next_told(s->next) : s;
	put_head(b, s, last);
	buf_put(b, buf_data(&changes), changes.len);
	if (last && after == NULL)
		pb_put_uint(b, 12, 1);
	buf_clear(&changes);
	buf_clear(&one);
	fold.part++;
	if (last) {
		fold.at = after;
		fold.next = after != NULL ? after->first : NULL;
		fold.part = 0;
	}
	if (fold.at == NULL)
		fold_reset();
	spool_relax();
	return true;
}

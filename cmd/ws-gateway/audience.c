/* Who sees the same, and what they see. */
#include "audience.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "buf.h"
#include "position.h"
#include "satellite.h"
#include "stream.h"
#include "xalloc.h"

struct encoding {
	struct encoding *next;
	struct audience *audience;
	unsigned flags;
	struct chunk *chunk;
};

static struct audience *all;

static int
by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static bool
same_user(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

struct audience *
audience_get(const char *user_id, const uint32_t *relations, size_t n)
{
	struct audience *a = xmalloc(sizeof *a + n * sizeof *relations);

	if (n > 0) {
		memcpy(a->relations, relations, n * sizeof *relations);
		qsort(a->relations, n, sizeof *relations, by_number);
	}
	for (struct audience *known = all; known != NULL; known = known->next) {
		if (known->n == n &&
		    (n == 0 || memcmp(known->relations, a->relations, n * sizeof *relations) == 0) &&
		    same_user(known->user_id, user_id)) {
			free(a);
			known->refs++;
			return known;
		}
	}
	a->refs = 1;
	a->n = n;
	a->user_id = user_id != NULL ? xstrdup(user_id) : NULL;
	a->next = all;
	all = a;
	return a;
}

void
audience_unref(struct audience *a)
{
	if (a == NULL || --a->refs > 0)
		return;
	for (struct audience **at = &all; *at != NULL; at = &(*at)->next) {
		if (*at == a) {
			*at = a->next;
			break;
		}
	}
	free(a->user_id);
	free(a);
}

bool
audience_has(const struct audience *a, uint32_t relation)
{
	return bsearch(&relation, a->relations, a->n, sizeof relation, by_number) != NULL;
}

/* A row without owner is everybody's. */
static bool
may_see(const struct audience *a, const char *owner)
{
	return owner[0] == '\0' || (a->user_id != NULL && strcmp(owner, a->user_id) == 0);
}

enum view
audience_view(const struct audience *a, const Transaction *t, const Change *c)
{
	bool is_repair = t->only_client[0] != '\0';
	bool new_row, old_row;

	if (c->kind == CHANGE_KIND__MIGRATE)
		return VIEW_AS_IS;
	if (!audience_has(a, c->relation))
		return VIEW_NONE;
	if (!c->owned)
		return VIEW_AS_IS;
	new_row = may_see(a, c->owner);
	if (c->kind == CHANGE_KIND__INSERT && is_repair)
		return new_row ? VIEW_AS_IS : VIEW_DELETE;
	if (c->kind != CHANGE_KIND__UPDATE)
		return new_row ? VIEW_AS_IS : VIEW_NONE;
	old_row = may_see(a, c->old_owner);
	if (new_row)
		return old_row ? VIEW_AS_IS : VIEW_INSERT;
	return old_row ? VIEW_DELETE : VIEW_NONE;
}

/* The update as an insert of the new row, or a delete of the old one; the insert as a delete. */
static void
add_transformed(struct buf *body, const Change *c, enum view view)
{
	struct arena a = { 0 };
	SatTransOp *op = sat_trans_op__unpack(arena_pb(&a), c->op.len, c->op.data),
		   changed = SAT_TRANS_OP__INIT;
	SatOpInsert insert = SAT_OP_INSERT__INIT;
	SatOpDelete delete = SAT_OP_DELETE__INIT;
	size_t n;
	uint8_t *packed;

	if (op == NULL || (op->op_case != SAT_TRANS_OP__OP_UPDATE && op->op_case != SAT_TRANS_OP__OP_INSERT))
		goto out;
	if (view == VIEW_INSERT) {
		insert.relation_id = c->relation;
		insert.row_data = op->update->row_data;
		insert.tags = op->update->tags;
		insert.n_tags = op->update->n_tags;
		changed.op_case = SAT_TRANS_OP__OP_INSERT;
		changed.insert = &insert;
	} else {
		delete.relation_id = c->relation;
		delete.old_row_data =
		    op->op_case == SAT_TRANS_OP__OP_INSERT ? op->insert->row_data : op->update->old_row_data;
		changed.op_case = SAT_TRANS_OP__OP_DELETE;
		changed.delete_ = &delete;
	}
	n = sat_trans_op__get_packed_size(&changed);
	packed = arena_alloc(&a, n);
	sat_trans_op__pack(&changed, packed);
	sat_oplog_add(body, packed, n);
out:
	arena_clear(&a);
}

static void
add_migration(struct buf *body, const Migration *m)
{
	for (size_t i = 0; i < m->n_ops; i++) {
		struct arena a = { 0 };
		SatTransOp op = SAT_TRANS_OP__INIT;
		size_t n;
		uint8_t *packed;

		op.migrate = sat_op_migrate__unpack(arena_pb(&a), m->ops[i].len, m->ops[i].data);
		if (op.migrate != NULL) {
			op.op_case = SAT_TRANS_OP__OP_MIGRATE;
			n = sat_trans_op__get_packed_size(&op);
			packed = arena_alloc(&a, n);
			sat_trans_op__pack(&op, packed);
			sat_oplog_add(body, packed, n);
		}
		arena_clear(&a);
	}
}

static void
add_op(struct buf *body, const SatTransOp *op)
{
	size_t n = sat_trans_op__get_packed_size(op);
	uint8_t *packed = xmalloc(n);

	sat_trans_op__pack(op, packed);
	sat_oplog_add(body, packed, n);
	free(packed);
}

static void
add_begin(struct buf *body, const Transaction *t, char *lsn)
{
	SatTransOp op = SAT_TRANS_OP__INIT;
	SatOpBegin begin = SAT_OP_BEGIN__INIT;

	begin.commit_timestamp = t->timestamp;
	begin.lsn = (ProtobufCBinaryData){ strlen(lsn), (uint8_t *)lsn };
	begin.origin = t->origin;
	begin.is_migration = t->is_migration;
	op.op_case = SAT_TRANS_OP__OP_BEGIN;
	op.begin = &begin;
	add_op(body, &op);
}

static void
add_commit(struct buf *body, const Transaction *t, char *lsn)
{
	SatTransOp op = SAT_TRANS_OP__INIT;
	SatOpCommit commit = SAT_OP_COMMIT__INIT;

	commit.commit_timestamp = t->timestamp;
	commit.lsn = (ProtobufCBinaryData){ strlen(lsn), (uint8_t *)lsn };
	op.op_case = SAT_TRANS_OP__OP_COMMIT;
	op.commit = &commit;
	add_op(body, &op);
}

static struct chunk *
encode(const Transaction *t, const struct audience *a, unsigned flags)
{
	struct buf ops = { 0 }, body = { 0 };
	char lsn[POSITION_TEXT];
	struct chunk *chunk = NULL;

	for (size_t i = 0; i < t->n_changes; i++) {
		const Change *c = t->changes[i];
		enum view view = audience_view(a, t, c);

		if (view == VIEW_AS_IS && c->kind == CHANGE_KIND__UPDATE && flags & ENCODE_ECHO)
			view = VIEW_INSERT;
		if (c->kind == CHANGE_KIND__MIGRATE)
			add_migration(&ops, c->migration);
		else if (view == VIEW_AS_IS)
			sat_oplog_add(&ops, c->op.data, c->op.len);
		else if (view != VIEW_NONE)
			add_transformed(&ops, c, view);
	}
	if (ops.len > 0 || flags & ENCODE_FORCE) {
		position_format(lsn, stream_life(), t->position);
		if (flags & ENCODE_BEGIN)
			add_begin(&body, t, lsn);
		buf_put(&body, buf_data(&ops), ops.len);
		if (flags & ENCODE_COMMIT)
			add_commit(&body, t, lsn);
		if (body.len > 0)
			chunk = chunk_frame(SAT_OP_LOG, buf_data(&body), body.len);
	}
	buf_clear(&ops);
	buf_clear(&body);
	return chunk;
}

struct chunk *
audience_encode(struct record *record, struct audience *a, unsigned flags)
{
	struct encoding *e;

	for (e = record->encodings; e != NULL; e = e->next)
		if (e->audience == a && e->flags == flags)
			return e->chunk != NULL ? chunk_ref(e->chunk) : NULL;
	e = xmalloc(sizeof *e);
	a->refs++;
	*e = (struct encoding){ record->encodings, a, flags, encode(record->transaction, a, flags) };
	record->encodings = e;
	return e->chunk != NULL ? chunk_ref(e->chunk) : NULL;
}

void
audience_forget(struct record *record)
{
	while (record->encodings != NULL) {
		struct encoding *e = record->encodings;

		record->encodings = e->next;
		chunk_unref(e->chunk);
		audience_unref(e->audience);
		free(e);
	}
}

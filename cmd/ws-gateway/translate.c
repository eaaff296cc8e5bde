/* Transactions of any Postgres, told in the numbers and columns that clients know. */
#include "translate.h"

#include <string.h>

#include "satellite.h"
#include "schema.h"

/* A table as its Postgres describes it, and as clients know it at that place in the log. */
struct pair {
	const Table *there, *here;
	bool same;
};

static bool
same_columns(const Table *a, const Table *b)
{
	if (a->relation != b->relation || a->n_columns != b->n_columns)
		return false;
	for (size_t i = 0; i < a->n_columns; i++)
		if (strcmp(a->columns[i]->name, b->columns[i]->name) != 0)
			return false;
	return true;
}

/* Where `there` has the column; n_columns: nowhere. */
static size_t
place_of(const Table *there, const char *name)
{
	size_t i = 0;

	while (i < there->n_columns && strcmp(there->columns[i]->name, name) != 0)
		i++;
	return i;
}

static SatOpRow *
in_columns_of(struct arena *a, const struct pair *p, const SatOpRow *row)
{
	const Table *here = p->here;
	SatOpRow *out;

	if (row == NULL)
		return NULL;
	out = arena_alloc(a, sizeof *out);
	sat_op_row__init(out);
	out->n_values = here->n_columns;
	out->values = arena_zalloc(a, here->n_columns * sizeof *out->values);
	out->nulls_bitmask.len = (here->n_columns + 7) / 8;
	out->nulls_bitmask.data = arena_zalloc(a, out->nulls_bitmask.len);
	for (size_t i = 0; i < here->n_columns; i++) {
		size_t k = place_of(p->there, here->columns[i]->name);

		if (k < row->n_values && !sat_is_null(row, k))
			out->values[i] = row->values[k];
		else
			out->nulls_bitmask.data[i / 8] |= 0x80 >> i % 8;
	}
	return out;
}

static void
translate_row(struct arena *a, const struct pair *p, Change *c)
{
	SatTransOp *op = sat_trans_op__unpack(arena_pb(a), c->op.len, c->op.data);
	uint32_t relation = p->here->relation;

	if (op == NULL)
		return;
	switch (op->op_case) {
	case SAT_TRANS_OP__OP_INSERT:
		op->insert->relation_id = relation;
		op->insert->row_data = in_columns_of(a, p, op->insert->row_data);
		break;
	case SAT_TRANS_OP__OP_UPDATE:
		op->update->relation_id = relation;
		op->update->row_data = in_columns_of(a, p, op->update->row_data);
		op->update->old_row_data = in_columns_of(a, p, op->update->old_row_data);
		break;
	case SAT_TRANS_OP__OP_DELETE:
		op->delete_->relation_id = relation;
		op->delete_->old_row_data = in_columns_of(a, p, op->delete_->old_row_data);
		break;
	default:
		return;
	}
	c->relation = relation;
	c->op.len = sat_trans_op__get_packed_size(op);
	c->op.data = arena_alloc(a, c->op.len);
	sat_trans_op__pack(op, c->op.data);
}

void
translate(struct arena *a, Transaction *t)
{
	struct pair *pairs = arena_alloc(a, t->n_tables * sizeof *pairs);
	size_t n = 0;

	for (size_t i = 0; i < t->n_tables; i++) {
		const Table *there = t->tables[i];
		const struct table_version *v =
		    schema_named_at(there->schema, there->name, t->position - t->early);

		if (v != NULL)
			pairs[n++] = (struct pair){ there, v->def, same_columns(there, v->def) };
	}
	for (size_t i = 0; i < t->n_changes; i++) {
		Change *c = t->changes[i];
		size_t k = 0;

		if (c->migration != NULL) {
			c->migration = schema_own(c->migration, t->position);
			continue;
		}
		while (k < n && pairs[k].there->relation != c->relation)
			k++;
		if (k < n && !pairs[k].same)
			translate_row(a, &pairs[k], c);
	}
}

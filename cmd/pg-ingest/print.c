/* Transactions as text. */
#include "print.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "catalog.h"
#include "pipeline.pb-c.h"
#include "satellite.h"

static void
print_head(const Transaction *t, const char *kind)
{
	printf("%" PRIu64 "\t%s\t%" PRIu64 "\t%s\t", t->xid, t->origin, t->timestamp, kind);
}

static void
print_json(json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

	printf("%s\n", text != NULL ? text : "null");
	free(text);
	json_decref(value);
}

static json_t *
row_json(const SatOpRow *row)
{
	json_t *list = json_array();

	for (size_t i = 0; row != NULL && i < row->n_values; i++) {
		bool null = sat_is_null(row, i);

		json_array_append_new(list,
		    null ? json_null() : json_stringn((const char *)row->values[i].data, row->values[i].len));
	}
	return list;
}

static void
print_row(const Transaction *t, const Change *c, const SatTransOp *op)
{
	const struct relation *rel = catalog_relation(c->relation);
	const Table *table = rel != NULL && rel->def != NULL ? rel->def->table : NULL;
	bool is_delete = op->op_case == SAT_TRANS_OP__OP_DELETE,
	     is_update = op->op_case == SAT_TRANS_OP__OP_UPDATE;
	char **tags = is_delete ? op->delete_->tags : is_update ? op->update->tags : op->insert->tags;
	size_t n = is_delete ? op->delete_->n_tags : is_update ? op->update->n_tags : op->insert->n_tags;

	print_head(t, is_delete ? "DELETE" : is_update ? "UPDATE" : "INSERT");
	printf("%s.%s\t", table != NULL ? table->schema : "?", table != NULL ? table->name : "?");
	for (size_t i = 0; i < n; i++)
		printf("%s%s", i > 0 ? "," : "", tags[i]);
	printf("\t");
	print_json(row_json(is_delete	? op->delete_->old_row_data
			    : is_update ? op->update->row_data
					: op->insert->row_data));
}

static void
print_migration(const Transaction *t, const Migration *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->n_ops; i++) {
		SatOpMigrate *op = sat_op_migrate__unpack(NULL, m->ops[i].len, m->ops[i].data);

		for (size_t k = 0; op != NULL && k < op->n_stmts; k++)
			json_array_append_new(list, json_string(op->stmts[k]->sql));
		sat_op_migrate__free_unpacked(op, NULL);
	}
	print_head(t, "MIGRATE");
	printf("%s\t\t", m->version);
	print_json(list);
}

void
print_transaction(const struct buf *packed)
{
	Transaction *t = transaction__unpack(NULL, packed->len, buf_data(packed));

	if (t == NULL)
		return;
	if (t->n_changes == 0) {
		print_head(t, "ECHO");
		printf("\t\t[]\n");
	}
	for (size_t i = 0; i < t->n_changes; i++) {
		const Change *c = t->changes[i];
		SatTransOp *op;

		if (c->migration != NULL) {
			print_migration(t, c->migration);
			continue;
		}
		op = sat_trans_op__unpack(NULL, c->op.len, c->op.data);
		if (op != NULL)
			print_row(t, c, op);
		sat_trans_op__free_unpacked(op, NULL);
	}
	fflush(stdout);
	transaction__free_unpacked(t, NULL);
}

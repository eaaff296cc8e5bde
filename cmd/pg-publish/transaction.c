/* A client's transaction as Postgres keeps it. */
#include "transaction.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

void
transaction_mark(struct buf *out, const ClientTransaction *t)
{
	ClientTransaction mark = CLIENT_TRANSACTION__INIT;
	size_t n;

	mark.client_id = t->client_id;
	mark.user_id = t->user_id;
	mark.lsn = t->lsn;
	mark.timestamp = t->timestamp;
	n = client_transaction__get_packed_size(&mark);
	client_transaction__pack(&mark, buf_room(out, n));
	buf_added(out, n);
}

char *
transaction_operations(const ClientTransaction *t)
{
	static const char *const kinds[] = { "unknown", "insert", "update", "delete", "migrate" };
	json_t *ops = json_array();
	char *text;

	for (size_t i = 0; i < t->n_ops; i++) {
		const ClientOp *op = t->ops[i];
		json_t *values = json_object(), *observed = json_array(), *claimed = json_array();

		for (size_t k = 0; k < op->n_values; k++) {
			const Value *v = op->values[k];
			char num[16];
			/* What is no UTF-8 could not be stored either: it is shown as missing. */
			json_t *value =
			    v->null ? json_null() : json_stringn((const char *)v->text.data, v->text.len);

			snprintf(num, sizeof num, "%" PRIu32, v->num);
			json_object_set_new(values, num, value != NULL ? value : json_null());
			if (v->claimed)
				json_array_append_new(claimed, json_integer(v->num));
		}
		for (size_t k = 0; k < op->n_observed; k++)
			json_array_append_new(observed, json_string(op->observed[k]));
		json_array_append_new(ops, json_pack("{s:s, s:I, s:o, s:o, s:o}", "kind",
					       kinds[op->kind <= CHANGE_KIND__MIGRATE ? op->kind : 0],
					       "relation", (json_int_t)op->relation, "values", values,
					       "claimed", claimed, "observed", observed));
	}
	text = json_dumps(ops, JSON_COMPACT);
	json_decref(ops);
	return text;
}

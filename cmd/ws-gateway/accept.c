/*
 * Taking a client's own transactions.
 *
 * A transaction is appended to the log of writes as the client sent it, its columns told by attribute number,
 * and which of them compete as their column's last writer. It is acknowledged when it has come back from
 * Postgres through the stream, and so after it is safe and after its echo: clients of 0.5.0 and 0.5.1 break
 * on an acknowledgement before the echo, 0.5.3 ignores it.
 */
#include "accept.h"

#include <stdlib.h>
#include <string.h>

#include "figures.h"
#include "gateway.h"
#include "log.h"
#include "replicate.h"
#include "schema.h"
#include "upstream.h"
#include "value.h"
#include "xalloc.h"

#define TIMESTAMP_MAX UINT64_C(9224318015999999) /* ms: the end of what Postgres' timestamps can say */
#define APPEND_AGAIN  1.0			 /* seconds */

/* A relation that the client announced: its columns in the client's order. */
struct client_relation {
	uint32_t id;
	const Table *table; /* as it was then; NULL: there is none */
	size_t n;
	const Column **columns; /* NULL: the table has no such column, or Postgres computes it */
};

/* A transaction that is coming in. */
struct open_write {
	struct arena memory;
	ClientTransaction transaction;
	size_t cap;
};

/* A transaction that was taken over. */
#define RELATIONS_MAX 4096 /* that a client may announce: each operation looks for its own among them */

struct write {
	struct write *next;
	struct client *client;
	ClientTransaction *transaction; /* until it is appended */
	struct arena memory;		/* of it */
	size_t size;
	ProtobufCBinaryData lsn, follows; /* its own, and of the one before it; malloc'ed */
	uint64_t timestamp;
	double received; /* loop time */
	bool asked, appended;
	bool duplicate;	  /* it was sent before */
	uint64_t echo_at; /* a duplicate's: where its echo was; 0: still to come */
};

static void
refuse(struct client *c, const char *why)
{
	client_fail(c, SAT_ERROR_RESP__ERROR_CODE__INVALID_REQUEST, why);
}

// ---- relations

static struct client_relation *
relation_find(struct client *c, uint32_t id)
{
	for (size_t i = 0; i < c->n_relations; i++)
		if (c->relations[i].id == id)
			return &c->relations[i];
	return NULL;
}

static const Column *
column_named(const Table *t, const char *name)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (strcmp(t->columns[i]->name, name) == 0)
			return t->columns[i];
	return NULL;
}

void
accept_relation(struct client *c, const SatRelation *r)
{
	struct client_relation *known = relation_find(c, r->relation_id);
	const struct table_version *t =
	    strcmp(r->schema_name, "public") == 0 ? schema_find_ever(r->table_name) : NULL;

	if (known == NULL && c->n_relations == RELATIONS_MAX) {
		refuse(c, "too many relations");
		return;
	}
	if (known == NULL) {
		c->relations = xrealloc(c->relations, (c->n_relations + 1) * sizeof *c->relations);
		known = &c->relations[c->n_relations++];
		known->columns = NULL;
	}
	free(known->columns);
	known->id = r->relation_id;
	known->table = t != NULL ? t->def : NULL;
	known->n = r->n_columns;
	known->columns = xcalloc(r->n_columns, sizeof *known->columns);
	for (size_t i = 0; t != NULL && i < r->n_columns; i++) {
		known->columns[i] = column_named(t->def, r->columns[i]->name);
		if (known->columns[i] != NULL && known->columns[i]->generated)
			known->columns[i] = NULL;
	}
}

// ---- operations

static bool
same_value(const SatOpRow *a, const SatOpRow *b, size_t i)
{
	if (sat_is_null(a, i) || sat_is_null(b, i))
		return sat_is_null(a, i) && sat_is_null(b, i);
	return a->values[i].len == b->values[i].len &&
	       memcmp(a->values[i].data, b->values[i].data, a->values[i].len) == 0;
}

/*
 * Which columns compete as last writer: all of an insert's, those that an update changed, none of a delete's.
 * An update without its old row is a compensation: it keeps a row alive and writes nothing. It has the key
 * only, and NULL elsewhere, which is no value.
 */
static bool
claims(ChangeKind kind, const SatOpRow *row, const SatOpRow *old, size_t i)
{
	if (kind == CHANGE_KIND__INSERT)
		return true;
	return kind == CHANGE_KIND__UPDATE && old != NULL && !same_value(row, old, i);
}

/* The first fault of the transaction is the one that is told. */
static void
note_fault(struct open_write *w, const char *sqlstate, char *fault)
{
	if (w->transaction.sqlstate[0] == '\0') {
		w->transaction.sqlstate = arena_strdup(&w->memory, sqlstate);
		w->transaction.fault = arena_strdup(&w->memory, fault);
	}
	free(fault);
}

/*
 * A value that the column cannot take. Its transaction is set aside as one that Postgres has refused: the
 * client is told what the row is, and goes on. Were its connection closed instead, it would send the same
 * again for ever.
 */
static void
check_value(struct open_write *w, const Column *column, const Value *v)
{
	const char *sqlstate;

	if (v->null) {
		if (column->not_null)
			note_fault(w, "23502",
			    xasprintf(
				"null value in column \"%s\" violates not-null constraint", column->name));
		return;
	}
	sqlstate = value_fault(column->type, v->text.data, v->text.len);
	if (sqlstate != NULL)
		note_fault(w, sqlstate,
		    xasprintf("%s for type %s in column \"%s\": \"%.*s\"",
			strcmp(sqlstate, "22003") == 0 ? "value out of range" : "invalid input syntax",
			column->type, column->name, v->text.len > 100 ? 100 : (int)v->text.len,
			(const char *)v->text.data));
}

/* Where there are several Postgres, its operations say what the table and its columns are called. */
static void
describe(struct open_write *w, const Table *table)
{
	ClientTransaction *t = &w->transaction;
	Table **tables;

	if (gateway_databases() == 1 && !schema_is_mixed())
		return;
	for (size_t i = 0; i < t->n_tables; i++)
		if (t->tables[i]->relation == table->relation)
			return;
	tables = arena_alloc(&w->memory, (t->n_tables + 1) * sizeof *tables);
	if (t->n_tables > 0)
		memcpy(tables, t->tables, t->n_tables * sizeof *tables);
	tables[t->n_tables++] = (Table *)(uintptr_t)table;
	t->tables = tables;
}

static void
add_op(struct client *c, ChangeKind kind, uint32_t relation_id, const SatOpRow *row, const SatOpRow *old,
    char **tags, size_t n_tags)
{
	struct open_write *w = c->open_write;
	const struct client_relation *r = relation_find(c, relation_id);
	const SatOpRow *values = kind == CHANGE_KIND__DELETE ? old : row;
	bool is_compensation = kind == CHANGE_KIND__UPDATE && old == NULL;
	ClientTransaction *t;
	ClientOp *op;

	if (w == NULL) {
		refuse(c, "an operation outside a transaction");
		return;
	}
	if (r == NULL || r->table == NULL) {
		refuse(c, "an operation on an unknown relation");
		return;
	}
	if (values == NULL || values->n_values != r->n ||
	    (kind == CHANGE_KIND__UPDATE && old != NULL && old->n_values != r->n)) {
		refuse(c, "a row that does not have the announced columns");
		return;
	}
	t = &w->transaction;
	if (t->n_ops == w->cap) {
		size_t cap = w->cap != 0 ? w->cap * 2 : 8;
		ClientOp **ops = arena_alloc(&w->memory, cap * sizeof *ops);

		if (t->n_ops > 0)
			memcpy(ops, t->ops, t->n_ops * sizeof *ops);
		t->ops = ops;
		w->cap = cap;
	}
	op = arena_alloc(&w->memory, sizeof *op);
	client_op__init(op);
	op->kind = kind;
	op->relation = r->table->relation;
	describe(w, r->table);
	op->values = arena_alloc(&w->memory, r->n * sizeof *op->values);
	for (size_t i = 0; i < r->n; i++)
		if (!sat_is_null(values, i) &&
		    !value_is_text(values->values[i].data, values->values[i].len)) {
			refuse(c, "a value that is not UTF-8 text");
			return;
		}
	for (size_t i = 0; i < r->n; i++) {
		Value *v;

		if (r->columns[i] == NULL || (is_compensation && sat_is_null(values, i)))
			continue;
		v = arena_alloc(&w->memory, sizeof *v);
		value__init(v);
		v->num = r->columns[i]->num;
		v->null = sat_is_null(values, i);
		v->text.len = values->values[i].len;
		v->text.data = arena_dup(&w->memory, values->values[i].data, values->values[i].len);
		v->claimed = claims(kind, row, old, i);
		op->values[op->n_values++] = v;
		if (v->claimed || (kind == CHANGE_KIND__INSERT && r->columns[i]->not_null))
			check_value(w, r->columns[i], v);
	}
	op->n_observed = n_tags;
	op->observed = arena_alloc(&w->memory, n_tags * sizeof *op->observed);
	for (size_t i = 0; i < n_tags; i++)
		op->observed[i] = arena_strdup(&w->memory, tags[i]);
	t->ops[t->n_ops++] = op;
}

// ---- transactions

static void
begin(struct client *c, const SatOpBegin *b)
{
	struct open_write *w;

	if (c->open_write != NULL) {
		refuse(c, "a transaction begun inside another");
		return;
	}
	if (b->lsn.len == 0) {
		refuse(c, "a transaction without lsn");
		return;
	}
	if (b->commit_timestamp > TIMESTAMP_MAX) {
		refuse(c, "a timestamp beyond what Postgres can store");
		return;
	}
	w = c->open_write = xcalloc(1, sizeof *w);
	client_transaction__init(&w->transaction);
	w->transaction.client_id = c->id;
	w->transaction.user_id = c->user_id;
	w->transaction.lsn =
	    (ProtobufCBinaryData){ b->lsn.len, arena_dup(&w->memory, b->lsn.data, b->lsn.len) };
	w->transaction.timestamp = b->commit_timestamp;
}

static void
write_free(struct write *w)
{
	arena_clear(&w->memory);
	free(w->transaction);
	free(w->lsn.data);
	free(w->follows.data);
	free(w);
}

static void on_appended(void *data, const Frame *f);

static void
append(struct write *w)
{
	AppendWrite request = APPEND_WRITE__INIT;

	w->asked = true;
	request.id = ask_id();
	request.transaction = w->transaction;
	request.follows = w->follows;
	ask(upstream_log(), &w->client->asks, request.id, FRAME__BODY_APPEND_WRITE, &request.base,
	    on_appended, w);
}

/* The log could not be written: in a while, all that is not appended is sent again, in order. */
static void
on_append_again(struct ev_loop *l, ev_timer *timer, int events)
{
	struct client *c = timer->data;

	(void)l;
	(void)events;
	for (struct write *w = c->writes; w != NULL; w = w->next)
		if (!w->appended && !w->asked)
			append(w);
}

static void
on_appended(void *data, const Frame *f)
{
	struct write *w = data;
	struct client *c = w->client;

	w->asked = false;
	if (f->write_appended->failed) {
		if (!ev_is_active(&c->append_again)) {
			ev_timer_init(&c->append_again, on_append_again, APPEND_AGAIN, 0.);
			c->append_again.data = c;
			ev_timer_start(loop(), &c->append_again);
		}
		return;
	}
	w->appended = true;
	w->duplicate = f->write_appended->duplicate;
	w->echo_at = f->write_appended->echo_position;
	c->write_bytes -= w->size;
	free(w->transaction);
	w->transaction = NULL;
	arena_clear(&w->memory);
	if (w->duplicate)
		accept_moved(c);
	else
		histogram_observe(&figures.write_stored, ev_now(loop()) - w->received);
	client_reading(c);
}

static void
commit(struct client *c)
{
	struct open_write *o = c->open_write;
	struct write *w;

	if (o == NULL) {
		refuse(c, "a commit outside a transaction");
		return;
	}
	c->open_write = NULL;
	w = xcalloc(1, sizeof *w);
	w->client = c;
	w->memory = o->memory;
	w->transaction = xmalloc(sizeof *w->transaction);
	*w->transaction = o->transaction;
	w->size = w->memory.total;
	w->lsn = (ProtobufCBinaryData){ o->transaction.lsn.len,
		(uint8_t *)xmemdup0(o->transaction.lsn.data, o->transaction.lsn.len) };
	w->timestamp = o->transaction.timestamp;
	w->received = ev_now(loop());
	w->follows = c->sent_lsn;
	c->sent_lsn = (ProtobufCBinaryData){ w->lsn.len, (uint8_t *)xmemdup0(w->lsn.data, w->lsn.len) };
	free(o);
	*c->writes_end = w;
	c->writes_end = &w->next;
	c->write_bytes += w->size;
	if (!ev_is_active(&c->append_again))
		append(w);
	client_reading(c);
}

void
accept_oplog(struct client *c, const SatOpLog *log)
{
	if (!c->accepting)
		return; /* as the reference: what comes before the start response is ignored */
	for (size_t i = 0; i < log->n_ops && c->state == CLIENT_IN; i++) {
		const SatTransOp *op = log->ops[i];

		switch (op->op_case) {
		case SAT_TRANS_OP__OP_BEGIN:
			begin(c, op->begin);
			break;
		case SAT_TRANS_OP__OP_COMMIT:
			commit(c);
			break;
		case SAT_TRANS_OP__OP_INSERT:
			add_op(c, CHANGE_KIND__INSERT, op->insert->relation_id, op->insert->row_data, NULL,
			    op->insert->tags, op->insert->n_tags);
			break;
		case SAT_TRANS_OP__OP_UPDATE:
			add_op(c, CHANGE_KIND__UPDATE, op->update->relation_id, op->update->row_data,
			    op->update->old_row_data, op->update->tags, op->update->n_tags);
			break;
		case SAT_TRANS_OP__OP_DELETE:
			add_op(c, CHANGE_KIND__DELETE, op->delete_->relation_id, NULL,
			    op->delete_->old_row_data, op->delete_->tags, op->delete_->n_tags);
			break;
		default:
			refuse(c, "an operation that clients may not send");
			break;
		}
	}
}

// ---- echoes

static void
write_remove(struct client *c, struct write **at)
{
	struct write *w = *at;

	*at = w->next;
	if (w->next == NULL)
		c->writes_end = at;
	write_free(w);
}

void
accept_echoed(struct client *c, const ProtobufCBinaryData *lsn)
{
	for (struct write **at = &c->writes; *at != NULL; at = &(*at)->next) {
		struct write *w = *at;
		SatPingResp ack = SAT_PING_RESP__INIT;

		if (!w->appended || w->lsn.len != lsn->len || memcmp(w->lsn.data, lsn->data, lsn->len) != 0)
			continue;
		if (!w->duplicate) {
			ack.presence_case = SAT_PING_RESP__PRESENCE_LSN;
			ack.lsn = w->lsn;
			client_send(c, SAT_PING_RESP, &ack.base);
			histogram_observe(&figures.write_echoed, ev_now(loop()) - w->received);
		}
		write_remove(c, at);
		return;
	}
}

void
accept_moved(struct client *c)
{
	if (!c->streaming || c->held || c->cursor.part != WHOLE)
		return;
	for (struct write **at = &c->writes; *at != NULL;) {
		struct write *w = *at;

		if (w->duplicate && w->echo_at != 0 && w->echo_at <= c->cursor.position) {
			replicate_echo_empty(c, w->timestamp);
			write_remove(c, at);
		} else {
			at = &w->next;
		}
	}
}

size_t
accept_pending(const struct client *c)
{
	size_t n = 0;

	for (const struct write *w = c->writes; w != NULL; w = w->next)
		n++;
	return n;
}

void
accept_clear(struct client *c)
{
	ev_timer_stop(loop(), &c->append_again);
	while (c->writes != NULL)
		write_remove(c, &c->writes);
	if (c->open_write != NULL) {
		arena_clear(&c->open_write->memory);
		free(c->open_write);
		c->open_write = NULL;
	}
	for (size_t i = 0; i < c->n_relations; i++)
		free(c->relations[i].columns);
	free(c->sent_lsn.data);
	c->sent_lsn = (ProtobufCBinaryData){ 0, NULL };
	free(c->relations);
	c->relations = NULL;
	c->n_relations = 0;
}

/* Convergence: a client as the npm client of 0.5 merges. */
#include "model.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "fail.h"
#include "peer.h"
#include "sat_client.h"
#include "xalloc.h"

#define TAGS_MAX     24
#define TAG_SIZE     80
#define SUBSCRIPTION "22222222-2222-4222-8222-222222222222"

struct tags {
	unsigned n;
	char t[TAGS_MAX][TAG_SIZE];
};

struct row {
	bool exists;
	bool null[COLUMNS_MAX];
	char value[COLUMNS_MAX][16];
	struct tags tags; /* the shadow */
};

/* An entry of the oplog: of a transaction that has not come back. */
struct entry {
	struct entry *next;
	uint32_t transaction;
	uint64_t time;
	enum sat_op op;
	unsigned table, key;
	struct row old, now;
	struct tags cleared;
};

struct model {
	const struct schema *schema;
	struct sat_client *c;
	unsigned port;
	int64_t skew;
	bool started, delivered;
	struct row rows[TABLES_MAX][KEYS];
	struct entry *oplog, **oplog_end;
	uint32_t written, sent; /* transactions */
	uint64_t last_time;

	/* the transaction that is coming in, one change a row */
	char origin[64];
	uint64_t time;
	struct incoming {
		bool any, is_delete;
		bool changed[COLUMNS_MAX];
		struct row full;
		struct tags tags;
	} incoming[TABLES_MAX][KEYS];
};

// ---- tags

static bool
tags_have(const struct tags *s, const char *tag)
{
	for (unsigned i = 0; i < s->n; i++)
		if (strcmp(s->t[i], tag) == 0)
			return true;
	return false;
}

static void
tags_add(struct tags *s, const char *tag)
{
	if (tags_have(s, tag))
		return;
	if (s->n == TAGS_MAX)
		test_fail("a row has more than %d tags", TAGS_MAX);
	snprintf(s->t[s->n++], TAG_SIZE, "%s", tag);
}

static void
tags_take(struct tags *s, const struct tags *away)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n; i++)
		if (!tags_have(away, s->t[i]))
			memmove(s->t[n++], s->t[i], TAG_SIZE);
	s->n = n;
}

static void
own_tag(const struct model *m, uint64_t time, char out[TAG_SIZE])
{
	snprintf(out, TAG_SIZE, "%s@%llu", m->c->id, (unsigned long long)time);
}

// ---- values

const char *
write_value(const struct schema *s, const struct table *t, unsigned column, uint32_t dice)
{
	static char ring[COLUMNS_MAX][16];
	char *out = ring[column];
	unsigned pick = (dice >> (column * 3)) % 16;

	if (t->parent >= 0 && column == t->n_columns - 1) {
		char key[COLUMNS_MAX][16];

		if (pick < 3)
			return NULL;
		schema_key(&s->tables[t->parent], pick % KEYS, key);
		snprintf(out, sizeof ring[0], "%s", key[0]);
		return out;
	}
	if (pick == 0)
		return NULL;
	if (pick == 1 && !t->is_number[column])
		return dice % 5 == 0 ? BAD : "é\"'";
	snprintf(out, sizeof ring[0], "%u", (dice >> 7) % 1000 + column);
	return out;
}

bool
write_sets(unsigned column, uint32_t dice)
{
	return dice >> (8 + column) & 1;
}

static void
set_value(struct row *row, unsigned column, const char *value)
{
	row->null[column] = value == NULL;
	snprintf(row->value[column], sizeof row->value[column], "%s", value != NULL ? value : "");
}

static bool
same_value(const struct row *a, const struct row *b, unsigned column)
{
	return a->null[column] == b->null[column] && strcmp(a->value[column], b->value[column]) == 0;
}

// ---- local writes

static bool
has_parent(const struct model *m, const struct table *t, const struct row *row)
{
	unsigned c = t->n_columns - 1;

	if (t->parent < 0 || row->null[c])
		return true;
	for (unsigned k = 0; k < KEYS; k++) {
		char key[COLUMNS_MAX][16];

		schema_key(&m->schema->tables[t->parent], k, key);
		if (strcmp(key[0], row->value[c]) == 0)
			return m->rows[t->parent][k].exists;
	}
	return false;
}

static bool
has_children(const struct model *m, unsigned table, unsigned key)
{
	char id[COLUMNS_MAX][16];

	schema_key(&m->schema->tables[table], key, id);
	for (unsigned i = 0; i < m->schema->n_tables; i++) {
		const struct table *t = &m->schema->tables[i];
		unsigned c = t->n_columns - 1;

		for (unsigned k = 0; k < KEYS && t->parent == (int)table; k++)
			if (m->rows[i][k].exists && !m->rows[i][k].null[c] &&
			    strcmp(m->rows[i][k].value[c], id[0]) == 0)
				return true;
	}
	return false;
}

/* False: SQLite would not take it, or there is nothing to do. */
static bool
apply_locally(struct model *m, const struct write *w, struct entry *e)
{
	const struct table *t = &m->schema->tables[w->table];
	struct row *row = &m->rows[w->table][w->key];
	char key[COLUMNS_MAX][16];
	bool changed = false;

	e->table = w->table;
	e->key = w->key;
	e->old = e->now = *row;
	if (w->kind == WRITE_DELETE) {
		if (!row->exists || has_children(m, w->table, w->key))
			return false;
		e->op = SAT_DELETE;
		row->exists = false;
		return true;
	}
	if (!row->exists && w->kind == WRITE_UPDATE)
		return false;
	e->op = row->exists ? SAT_UPDATE : SAT_INSERT;
	schema_key(t, w->key, key);
	for (unsigned c = 0; c < t->n_columns; c++) {
		if (c < t->n_keys)
			set_value(&e->now, c, key[c]);
		else if (e->op == SAT_INSERT || write_sets(c, w->dice))
			set_value(&e->now, c, write_value(m->schema, t, c, w->dice));
		changed |= e->op == SAT_INSERT || !same_value(&e->now, &e->old, c);
	}
	e->now.exists = true;
	if (!changed || !has_parent(m, t, &e->now))
		return false;
	*row = e->now;
	return true;
}

static const char *const *
pointers(const struct row *row, unsigned n)
{
	static const char *ring[64][COLUMNS_MAX];
	static unsigned next;
	const char **out = ring[next++ % 64];

	for (unsigned c = 0; c < n; c++)
		out[c] = row->null[c] ? NULL : row->value[c];
	return out;
}

static void
send_transaction(struct model *m, uint32_t number)
{
	struct sat_write_op ops[16];
	const char *observed[16][TAGS_MAX];
	uint32_t lsn = htonl(number);
	uint64_t time = 0;
	unsigned n = 0;

	for (const struct entry *e = m->oplog; e != NULL; e = e->next) {
		const struct table *t = &m->schema->tables[e->table];

		if (e->transaction != number)
			continue;
		for (unsigned i = 0; i < e->cleared.n; i++)
			observed[n][i] = e->cleared.t[i];
		ops[n] = (struct sat_write_op){ .kind = e->op,
			.table = t->name,
			.row = pointers(e->op == SAT_DELETE ? &e->old : &e->now, t->n_columns),
			.old = e->op == SAT_UPDATE ? pointers(&e->old, t->n_columns) : NULL,
			.observed = observed[n],
			.n_observed = e->cleared.n };
		time = e->time;
		n++;
	}
	if (n > 0)
		sat_write_lsn(m->c, &lsn, sizeof lsn, time, ops, n);
}

static uint64_t
clock_ms(struct model *m)
{
	struct timeval now;
	uint64_t ms;

	gettimeofday(&now, NULL);
	ms = (uint64_t)((int64_t)now.tv_sec * 1000 + now.tv_usec / 1000 + m->skew);
	return m->last_time = ms > m->last_time ? ms : m->last_time + 1;
}

void
model_write(struct model *m, const struct write *writes, unsigned n)
{
	struct entry *first = NULL, **end = &first;
	uint64_t time;
	char tag[TAG_SIZE];

	if (!m->delivered)
		return;
	time = clock_ms(m);
	own_tag(m, time, tag);
	for (unsigned i = 0; i < n; i++) {
		struct entry *e = xcalloc(1, sizeof *e);

		if (!apply_locally(m, &writes[i], e)) {
			free(e);
			continue;
		}
		e->transaction = m->written + 1;
		e->time = time;
		/* The first of a row in its transaction has seen what the shadow says, those after it
		 * nothing. */
		e->cleared = m->rows[e->table][e->key].tags;
		for (const struct entry *o = first; o != NULL; o = o->next)
			if (o->table == e->table && o->key == e->key)
				e->cleared.n = 0;
		*end = e;
		end = &e->next;
	}
	if (first == NULL)
		return;
	for (const struct entry *e = first; e != NULL; e = e->next) {
		struct tags *tags = &m->rows[e->table][e->key].tags;

		tags->n = 0;
		if (e->op != SAT_DELETE)
			tags_add(tags, tag);
	}
	m->written++;
	*m->oplog_end = first;
	m->oplog_end = end;
	if (m->started) {
		send_transaction(m, m->written);
		m->sent = m->written;
	}
}

// ---- what comes in

static bool
find_row(
    const struct model *m, const struct sat_relation *r, const SatOpRow *row, unsigned *table, unsigned *key)
{
	for (*table = 0; *table < m->schema->n_tables; (*table)++) {
		const struct table *t = &m->schema->tables[*table];

		if (strcmp(t->name, r->name) != 0)
			continue;
		for (*key = 0; *key < KEYS; (*key)++) {
			char values[COLUMNS_MAX][16];
			bool same = true;

			schema_key(t, *key, values);
			for (unsigned c = 0; c < t->n_keys && same; c++) {
				const char *v = sat_value(r, row, r->columns[c]);

				same = v != NULL && strcmp(v, values[c]) == 0;
			}
			if (same)
				return true;
		}
	}
	return false;
}

static void
read_row(struct row *out, const struct sat_relation *r, const SatOpRow *row)
{
	out->exists = true;
	for (unsigned c = 0; c < r->n && c < COLUMNS_MAX; c++)
		set_value(out, c, sat_value(r, row, r->columns[c]));
}

static void
take_op(struct model *m, const SatTransOp *op)
{
	const SatOpRow *now = NULL, *old = NULL;
	uint32_t relation;
	char **tags = NULL;
	size_t n_tags = 0;
	const struct sat_relation *r;
	struct incoming *in;
	unsigned table, key;
	struct row before = { 0 };
	bool first;

	if (op->op_case == SAT_TRANS_OP__OP_INSERT) {
		relation = op->insert->relation_id;
		now = op->insert->row_data;
		tags = op->insert->tags;
		n_tags = op->insert->n_tags;
	} else if (op->op_case == SAT_TRANS_OP__OP_UPDATE) {
		relation = op->update->relation_id;
		now = op->update->row_data;
		old = op->update->old_row_data;
		tags = op->update->tags;
		n_tags = op->update->n_tags;
	} else if (op->op_case == SAT_TRANS_OP__OP_DELETE) {
		relation = op->delete_->relation_id;
		old = op->delete_->old_row_data;
		tags = op->delete_->tags;
		n_tags = op->delete_->n_tags;
	} else {
		return;
	}
	r = sat_relation(m->c, relation);
	if (r == NULL || !find_row(m, r, now != NULL ? now : old, &table, &key))
		test_fail("client %s: an operation on an unknown row", m->c->id);
	in = &m->incoming[table][key];
	first = !in->any;
	in->any = true;
	in->is_delete = now == NULL;
	if (old != NULL)
		read_row(&before, r, old);
	read_row(&in->full, r, now != NULL ? now : old);
	for (unsigned c = 0; now != NULL && c < r->n; c++)
		in->changed[c] |= old == NULL || !same_value(&in->full, &before, c);
	/* Of several operations on a row, the first one's tags count: the server sends the last ones with
	 * each. */
	for (size_t i = 0; first && i < n_tags; i++)
		tags_add(&in->tags, tags[i]);
}

/* What the oplog says of a row: which columns, by when, and the tag of the last write. */
struct local {
	bool any, is_delete;
	bool changed[COLUMNS_MAX];
	uint64_t time[COLUMNS_MAX];
	struct row full;
	uint64_t last;
	struct tags cleared;
};

static void
local_changes(const struct model *m, unsigned table, unsigned key, struct local *l)
{
	unsigned n = m->schema->tables[table].n_columns;

	memset(l, 0, sizeof *l);
	for (const struct entry *e = m->oplog; e != NULL; e = e->next) {
		if (e->table != table || e->key != key)
			continue;
		for (unsigned c = 0; c < n && e->op != SAT_DELETE; c++) {
			if (e->op == SAT_INSERT || !same_value(&e->now, &e->old, c)) {
				l->changed[c] = true;
				l->time[c] = e->time;
				l->full.null[c] = e->now.null[c];
				strcpy(l->full.value[c], e->now.value[c]);
			}
		}
		/* Within one transaction the last one's, else all. */
		if (l->any && l->last == e->time)
			l->cleared = e->cleared;
		else
			for (unsigned i = 0; i < e->cleared.n; i++)
				tags_add(&l->cleared, e->cleared.t[i]);
		l->any = true;
		l->is_delete = e->op == SAT_DELETE;
		l->last = e->time;
	}
}

static void
merge_row(struct model *m, unsigned table, unsigned key)
{
	struct incoming *in = &m->incoming[table][key];
	struct row *row = &m->rows[table][key];
	struct local l;
	char tag[TAG_SIZE];

	local_changes(m, table, key, &l);
	if (l.any) {
		bool later = strcmp(m->c->id, m->origin) > 0;

		for (unsigned c = 0; c < m->schema->tables[table].n_columns; c++) {
			bool local = l.changed[c] && (!in->changed[c] || l.time[c] > m->time ||
							 (l.time[c] == m->time && later));

			if (local) {
				in->full.null[c] = l.full.null[c];
				strcpy(in->full.value[c], l.full.value[c]);
			}
		}
		tags_take(&in->tags, &l.cleared);
		if (!l.is_delete) {
			struct tags all = { 0 };

			own_tag(m, l.last, tag);
			tags_add(&all, tag);
			for (unsigned i = 0; i < in->tags.n; i++)
				tags_add(&all, in->tags.t[i]);
			in->tags = all;
		}
		in->is_delete = in->tags.n == 0;
	}
	if (in->is_delete) {
		row->exists = false;
		row->tags.n = 0;
		return;
	}
	*row = in->full;
	row->exists = true;
	row->tags = in->tags;
}

static void
forget_entries(struct model *m)
{
	struct entry **at = &m->oplog;

	while (*at != NULL) {
		struct entry *e = *at;

		if (e->time == m->time) {
			*at = e->next;
			free(e);
		} else {
			at = &e->next;
		}
	}
	m->oplog_end = at;
}

static void
take_transaction(struct model *m)
{
	for (unsigned t = 0; t < m->schema->n_tables; t++)
		for (unsigned k = 0; k < KEYS; k++)
			if (m->incoming[t][k].any)
				merge_row(m, t, k);
	memset(m->incoming, 0, sizeof m->incoming);
	if (strcmp(m->origin, m->c->id) == 0)
		forget_entries(m);
}

static void
take_log(struct model *m, const SatOpLog *log)
{
	for (size_t i = 0; i < log->n_ops; i++) {
		const SatTransOp *op = log->ops[i];

		if (op->op_case == SAT_TRANS_OP__OP_BEGIN) {
			memset(m->incoming, 0, sizeof m->incoming);
			snprintf(m->origin, sizeof m->origin, "%s", op->begin->origin);
			m->time = op->begin->commit_timestamp;
		} else if (op->op_case == SAT_TRANS_OP__OP_COMMIT) {
			take_transaction(m);
		} else {
			take_op(m, op);
		}
	}
}

/* Initial rows come without begin and commit. */
static void
take_delivery(struct model *m)
{
	m->origin[0] = '\0';
	m->time = 0;
	take_transaction(m);
	m->delivered = true;
}

static void
subscribe(struct model *m)
{
	const char *tables[TABLES_MAX];

	for (unsigned i = 0; i < m->schema->n_tables; i++)
		tables[i] = m->schema->tables[i].name;
	sat_ask_subscription(m->c, SUBSCRIPTION, tables, m->schema->n_tables);
}

static void
on_message(struct sat_client *c, const struct sat_message *message)
{
	struct model *m = c->data;
	char *id = (char *)(uintptr_t)SUBSCRIPTION;

	switch (message->code) {
	case SAT_AUTH_RESP:
		sat_ask_start(c, &id, m->delivered ? 1 : 0);
		break;
	case SAT_START_RESP:
		if (((const SatInStartReplicationResp *)message->body)->err != NULL)
			test_fail("client %s: replication does not start: %s", c->id,
			    ((const SatInStartReplicationResp *)message->body)->err->message);
		m->started = true;
		if (!m->delivered)
			subscribe(m);
		for (uint32_t n = 1; n <= m->written; n++)
			send_transaction(m, n);
		m->sent = m->written;
		break;
	case SAT_SUBS_RESP:
		if (((const SatSubsResp *)message->body)->err != NULL)
			test_fail("client %s: no subscription: %s", c->id,
			    ((const SatSubsResp *)message->body)->err->message);
		break;
	case SAT_SUBS_DATA_END:
		take_delivery(m);
		break;
	case SAT_SUBS_DATA_ERROR:
		test_fail("client %s: the delivery failed", c->id);
	case SAT_ERROR_RESP:
		test_fail("client %s: the server answers with error %d", c->id,
		    (int)((const SatErrorResp *)message->body)->error_type);
	case SAT_OP_LOG:
		take_log(m, (const SatOpLog *)message->body);
		break;
	default:
		break;
	}
}

static void
on_closed(struct sat_client *c)
{
	struct model *m = c->data;

	m->started = false;
	memset(m->incoming, 0, sizeof m->incoming);
	if (!m->delivered)
		c->server_lsn[0] = '\0';
}

// ---- life

struct model *
model_new(const char *id, const struct schema *schema, int64_t skew)
{
	struct model *m = xcalloc(1, sizeof *m);

	m->schema = schema;
	m->skew = skew;
	m->oplog_end = &m->oplog;
	m->c = sat_new(id);
	m->c->data = m;
	m->c->on_message = on_message;
	m->c->on_closed = on_closed;
	return m;
}

void
model_free(struct model *m)
{
	while (m->oplog != NULL) {
		struct entry *e = m->oplog;

		m->oplog = e->next;
		free(e);
	}
	sat_free(m->c);
	free(m);
}

void
model_connect(struct model *m, unsigned port)
{
	if (m->c->fd >= 0)
		return;
	if (!sat_reopen(m->c, port))
		test_fail("client %s: the server does not take it", m->c->id);
	sat_auth(m->c, sat_token("ann"));
}

void
model_cut(struct model *m)
{
	sat_close(m->c);
}

bool
model_is_quiet(const struct model *m)
{
	return m->started && m->delivered && m->oplog == NULL;
}

// ---- what it holds

const char *
model_rows(const struct model *m, unsigned table)
{
	static char out[4096];
	const struct table *t = &m->schema->tables[table];
	size_t n = 0;

	out[0] = '\0';
	for (unsigned k = 0; k < KEYS; k++) {
		const struct row *row = &m->rows[table][k];

		if (!row->exists)
			continue;
		for (unsigned c = 0; c < t->n_columns; c++)
			n += (size_t)snprintf(
			    out + n, sizeof out - n, "%s|", row->null[c] ? "~" : row->value[c]);
		n += (size_t)snprintf(out + n, sizeof out - n, ";");
	}
	return out;
}

void
model_print(const struct model *m)
{
	printf("  %s: %s%s skew=%lld oplog=", m->c->id, m->started ? "started" : "away",
	    m->delivered ? "" : " undelivered", (long long)m->skew);
	for (const struct entry *e = m->oplog; e != NULL; e = e->next)
		printf(" %u:%d:%u/%u", e->transaction, (int)e->op, e->table, e->key);
	printf("\n");
	for (unsigned t = 0; t < m->schema->n_tables; t++) {
		printf("    %s: %s", m->schema->tables[t].name, model_rows(m, t));
		for (unsigned k = 0; k < KEYS; k++)
			for (unsigned i = 0; i < m->rows[t][k].tags.n; i++)
				printf(" %u:%s", k, m->rows[t][k].tags.t[i]);
		printf("\n");
	}
}

/* A client of the Satellite protocol. */
#include "sat_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wslay/wslay.h>

#include "buf.h"
#include "fail.h"
#include "peer.h"
#include "xalloc.h"

#define AWAIT_OTHERS   (3 * AWAIT_SECONDS) /* that an awaited message may be behind */
#define REOPEN_SECONDS 1		   /* a server that is stopped does not hold up the others */

// ---- the socket

static void
closed(struct sat_client *c)
{
	if (c->fd < 0)
		return;
	ev_io_stop(loop(), &c->io);
	close(c->fd);
	c->fd = -1;
	c->open = c->announced = false;
	if (c->on_closed != NULL)
		c->on_closed(c);
}

void
sat_close(struct sat_client *c)
{
	closed(c);
}

static ssize_t
on_recv(wslay_event_context_ptr ws, uint8_t *p, size_t n, int flags, void *data)
{
	struct sat_client *c = data;

	(void)flags;
	if (c->in.len == 0) {
		wslay_event_set_error(ws, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (n > c->in.len)
		n = c->in.len;
	memcpy(p, buf_data(&c->in), n);
	buf_take(&c->in, n);
	return (ssize_t)n;
}

static ssize_t
on_send(wslay_event_context_ptr ws, const uint8_t *p, size_t n, int flags, void *data)
{
	struct sat_client *c = data;
	ssize_t sent = c->fd >= 0 ? send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;

	(void)flags;
	if (sent < 0)
		wslay_event_set_error(ws, c->fd >= 0 && (errno == EAGAIN || errno == EWOULDBLOCK)
					      ? WSLAY_ERR_WOULDBLOCK
					      : WSLAY_ERR_CALLBACK_FAILURE);
	return sent;
}

/* Masks with zeroes: allowed, cheap, and the payload stays readable in a capture. */
static int
on_mask(wslay_event_context_ptr ws, uint8_t *p, size_t n, void *data)
{
	(void)ws;
	(void)data;
	memset(p, 0, n);
	return 0;
}

static void on_frame(struct sat_client *c, const uint8_t *p, size_t n);

static void
on_frame_start(wslay_event_context_ptr ws, const struct wslay_event_on_frame_recv_start_arg *arg, void *data)
{
	struct sat_client *c = data;

	(void)ws;
	c->in_control_frame = wslay_is_ctrl_frame(arg->opcode);
}

/* Messages are put together here: wslay would copy them oftener. */
static void
on_bytes(wslay_event_context_ptr ws, const struct wslay_event_on_frame_recv_chunk_arg *arg, void *data)
{
	struct sat_client *c = data;

	(void)ws;
	if (!c->in_control_frame)
		buf_put(&c->message, arg->data, arg->data_length);
}

static void
on_msg(wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *arg, void *data)
{
	struct sat_client *c = data;

	(void)ws;
	if (wslay_is_ctrl_frame(arg->opcode))
		return;
	if (arg->opcode == WSLAY_BINARY_FRAME)
		on_frame(c, buf_data(&c->message), c->message.len);
	c->message.len = 0; /* its memory serves for the next */
}

static void
watch(struct sat_client *c)
{
	int events = EV_READ | (wslay_event_want_write(c->ws) ? EV_WRITE : 0);

	if (c->fd < 0 || (ev_is_active(&c->io) && (c->io.events & (EV_READ | EV_WRITE)) == events))
		return;
	ev_io_stop(loop(), &c->io);
	ev_io_set(&c->io, c->fd, events);
	ev_io_start(loop(), &c->io);
}

static void
on_io(struct ev_loop *l, ev_io *w, int events)
{
	struct sat_client *c = w->data;

	(void)l;
	if (events & EV_READ) {
		ssize_t n = recv(c->fd, buf_room(&c->in, 65536), 65536, MSG_DONTWAIT);

		if (n > 0) {
			buf_added(&c->in, (size_t)n);
			if (wslay_event_recv(c->ws) != 0 || wslay_event_get_close_received(c->ws)) {
				closed(c);
				return;
			}
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			closed(c);
			return;
		}
	}
	if (c->fd >= 0 && wslay_event_want_write(c->ws) && wslay_event_send(c->ws) != 0)
		closed(c);
	watch(c);
}

void
sat_turn(void)
{
	ev_run(loop(), EVRUN_ONCE);
}

static void
on_late(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)events;
	*(bool *)w->data = true;
}

/* Turns the loop until done(c) says so; false when it takes too long. */
static bool
wait_until(struct sat_client *c, bool (*done)(struct sat_client *c))
{
	bool late = false;
	ev_timer timer;

	ev_now_update(loop()); /* who turned it last may have done so long ago */
	ev_timer_init(&timer, on_late, AWAIT_SECONDS, 0.);
	timer.data = &late;
	ev_timer_start(loop(), &timer);
	while (!done(c) && !late)
		ev_run(loop(), EVRUN_ONCE);
	ev_timer_stop(loop(), &timer);
	return !late;
}

/* NULL, or why there is no websocket. */
static const char *
upgrade(struct sat_client *c)
{
	static const char request[] = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
				      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
				      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
	char *end;

	if (send(c->fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
		return strerror(errno);
	for (;;) {
		ssize_t n = recv(c->fd, buf_room(&c->in, 4096), 4096, 0);

		if (n <= 0)
			return "the server closed during the upgrade";
		buf_added(&c->in, (size_t)n);
		if ((end = strstr(buf_cstr(&c->in), "\r\n\r\n")) != NULL)
			break;
	}
	if (strncmp(buf_cstr(&c->in), "HTTP/1.1 101", 12) != 0)
		return "the upgrade was refused";
	buf_take(&c->in, (size_t)(end + 4 - (char *)buf_data(&c->in)));
	return NULL;
}

/* NULL, or why not. */
static const char *
open_socket(struct sat_client *c, unsigned port, time_t seconds)
{
	static const struct wslay_event_callbacks callbacks = { .recv_callback = on_recv,
		.send_callback = on_send,
		.genmask_callback = on_mask,
		.on_frame_recv_start_callback = on_frame_start,
		.on_frame_recv_chunk_callback = on_bytes,
		.on_msg_recv_callback = on_msg };
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { .tv_sec = seconds };
	const char *why;
	int one = 1;

	buf_take(&c->in, c->in.len);
	c->message.len = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	why = connect(c->fd, (struct sockaddr *)&addr, sizeof addr) != 0 ? strerror(errno) : upgrade(c);
	if (why != NULL) {
		close(c->fd);
		c->fd = -1;
		return why;
	}
	c->open = true;
	wslay_event_context_free(c->ws);
	wslay_event_context_client_init(&c->ws, &callbacks, c);
	wslay_event_config_set_no_buffering(c->ws, 1);
	wslay_event_config_set_max_recv_msg_length(c->ws, 1u << 30);
	ev_init(&c->io, on_io);
	c->io.data = c;
	watch(c);
	return NULL;
}

struct sat_client *
sat_new(const char *id)
{
	struct sat_client *c = xcalloc(1, sizeof *c);

	snprintf(c->id, sizeof c->id, "%s", id);
	c->last = &c->first;
	c->fd = -1;
	return c;
}

struct sat_client *
sat_connect(unsigned port, const char *id)
{
	struct sat_client *c = sat_new(id);
	const char *why;

	why = open_socket(c, port, (time_t)AWAIT_SECONDS);
	if (why != NULL)
		test_fail("client %s on port %u: %s", id, port, why);
	return c;
}

bool
sat_reopen(struct sat_client *c, unsigned port)
{
	return open_socket(c, port, REOPEN_SECONDS) == NULL;
}

void
sat_free(struct sat_client *c)
{
	c->on_closed = NULL;
	closed(c);
	while (c->first != NULL) {
		struct sat_message *m = c->first;

		c->first = m->next;
		sat_message_free(m);
	}
	wslay_event_context_free(c->ws);
	buf_clear(&c->in);
	buf_clear(&c->message);
	free(c->relations);
	free(c);
}

void
sat_send_raw(struct sat_client *c, uint8_t opcode, const void *p, size_t n)
{
	struct wslay_event_msg msg = { .opcode = opcode, .msg = p, .msg_length = n };

	if (c->fd < 0)
		return;
	wslay_event_queue_msg(c->ws, &msg);
	if (wslay_event_send(c->ws) != 0)
		closed(c);
	watch(c);
}

void
sat_send(struct sat_client *c, unsigned code, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *p = xmalloc(n + 1);

	p[0] = (uint8_t)code;
	protobuf_c_message_pack(m, p + 1);
	sat_send_raw(c, WSLAY_BINARY_FRAME, p, n + 1);
	free(p);
}

// ---- messages

static void
note_relation(struct sat_client *c, const SatRelation *m)
{
	struct sat_relation *r = NULL;

	for (size_t i = 0; i < c->n_relations; i++)
		if (c->relations[i].id == m->relation_id)
			r = &c->relations[i];
	if (r == NULL) {
		c->relations = xrealloc(c->relations, (c->n_relations + 1) * sizeof *c->relations);
		r = &c->relations[c->n_relations++];
	}
	memset(r, 0, sizeof *r);
	r->id = m->relation_id;
	snprintf(r->name, sizeof r->name, "%s", m->table_name);
	r->n = m->n_columns < 32 ? m->n_columns : 32;
	for (size_t i = 0; i < r->n; i++) {
		snprintf(r->columns[i], sizeof r->columns[i], "%s", m->columns[i]->name);
		snprintf(r->types[i], sizeof r->types[i], "%s", m->columns[i]->type);
		r->keys[i] = m->columns[i]->primarykey;
	}
	c->announced = false;
}

static void
note_lsn(struct sat_client *c, const ProtobufCBinaryData *lsn)
{
	snprintf(c->server_lsn, sizeof c->server_lsn, "%.*s", (int)lsn->len, (const char *)lsn->data);
}

/* What the client itself must know or answer. */
static void
note(struct sat_client *c, unsigned code, const ProtobufCMessage *body)
{
	SatInStartReplicationResp started = SAT_IN_START_REPLICATION_RESP__INIT;
	SatPingResp pong = SAT_PING_RESP__INIT;

	if (code == SAT_RELATION) {
		note_relation(c, (const SatRelation *)body);
	} else if (code == SAT_PING_REQ) {
		sat_send(c, SAT_PING_RESP, &pong.base);
	} else if (code == SAT_START_REQ) {
		const SatInStartReplicationReq *r = (const SatInStartReplicationReq *)body;

		c->own_lsn_len = r->lsn.len < sizeof c->own_lsn ? r->lsn.len : sizeof c->own_lsn;
		if (c->own_lsn_len > 0)
			memcpy(c->own_lsn, r->lsn.data, c->own_lsn_len);
		if (!c->hold_start)
			sat_send(c, SAT_START_RESP, &started.base);
	} else if (code == SAT_SUBS_DATA_BEGIN) {
		note_lsn(c, &((const SatSubsDataBegin *)body)->lsn);
	} else if (code == SAT_OP_LOG) {
		const SatOpLog *log = (const SatOpLog *)body;

		for (size_t i = 0; i < log->n_ops; i++)
			if (log->ops[i]->op_case == SAT_TRANS_OP__OP_COMMIT)
				note_lsn(c, &log->ops[i]->commit->lsn);
	}
}

static void
on_frame(struct sat_client *c, const uint8_t *p, size_t n)
{
	const ProtobufCMessageDescriptor *type = n > 0 ? sat_descriptor(p[0]) : NULL;
	struct sat_message *m;

	if (n > 0 && p[0] == SAT_OP_LOG && c->on_oplog != NULL) {
		c->on_oplog(c, p + 1, n - 1);
		return;
	}
	m = xcalloc(1, sizeof *m);
	if (type != NULL)
		m->body = protobuf_c_message_unpack(type, arena_pb(&m->memory), n - 1, p + 1);
	if (m->body == NULL)
		test_fail(
		    "the server sent a frame that is no message (%zu bytes, code %d)", n, n > 0 ? p[0] : -1);
	m->code = p[0];
	note(c, m->code, m->body);
	if (c->on_message != NULL) {
		c->on_message(c, m);
		sat_message_free(m);
		return;
	}
	*c->last = m;
	c->last = &m->next;
}

void
sat_message_free(struct sat_message *m)
{
	if (m == NULL)
		return;
	arena_clear(&m->memory);
	free(m);
}

static bool
has_message_or_end(struct sat_client *c)
{
	return c->first != NULL || c->fd < 0;
}

struct sat_message *
sat_next(struct sat_client *c)
{
	struct sat_message *m;

	if (!wait_until(c, has_message_or_end))
		test_fail("client %s: nothing came", c->id);
	m = c->first;
	if (m != NULL) {
		c->first = m->next;
		if (c->first == NULL)
			c->last = &c->first;
	}
	return m;
}

struct sat_message *
sat_await(struct sat_client *c, unsigned code)
{
	ev_tstamp began = ev_time();

	for (;;) {
		struct sat_message *m = sat_next(c);

		if (m == NULL)
			test_fail("client %s: the server closed where message %u was awaited", c->id, code);
		if (m->code == code)
			return m;
		sat_message_free(m);
		if (ev_time() - began > AWAIT_OTHERS)
			test_fail("client %s: others came, and never message %u", c->id, code);
	}
}

static bool
is_closed(struct sat_client *c)
{
	return c->fd < 0;
}

void
sat_await_close(struct sat_client *c)
{
	if (!wait_until(c, is_closed))
		test_fail("client %s: the server did not close", c->id);
}

// ---- requests

static void
put_base64url(char *out, const char *text)
{
	size_t n = (size_t)EVP_EncodeBlock((uint8_t *)out, (const uint8_t *)text, (int)strlen(text));

	for (char *p = out; *p != '\0'; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	while (n > 0 && out[n - 1] == '=')
		out[--n] = '\0';
}

const char *
sat_token(const char *user_id)
{
	static char token[512];
	char payload[200], head[64], body[300];

	snprintf(payload, sizeof payload, "{\"user_id\":\"%s\"}", user_id);
	put_base64url(head, "{\"alg\":\"none\",\"typ\":\"JWT\"}");
	put_base64url(body, payload);
	snprintf(token, sizeof token, "%s.%s.", head, body);
	return token;
}

void
sat_auth(struct sat_client *c, const char *token)
{
	SatAuthReq auth = SAT_AUTH_REQ__INIT;
	SatAuthHeaderPair version = SAT_AUTH_HEADER_PAIR__INIT, *headers[] = { &version };

	version.key = SAT_AUTH_HEADER__PROTO_VERSION;
	version.value = (char *)(uintptr_t) "Electric.Satellite.v1_4";
	auth.id = c->id;
	auth.token = (char *)(uintptr_t)token;
	auth.headers = headers;
	auth.n_headers = 1;
	sat_send(c, SAT_AUTH_REQ, &auth.base);
}

void
sat_login(struct sat_client *c, const char *user_id)
{
	sat_auth(c, sat_token(user_id));
	sat_message_free(sat_await(c, SAT_AUTH_RESP));
	sat_message_free(sat_await(c, SAT_START_REQ));
}

void
sat_ask_start(struct sat_client *c, char **subscriptions, size_t n)
{
	SatInStartReplicationReq start = SAT_IN_START_REPLICATION_REQ__INIT;

	start.lsn = (ProtobufCBinaryData){ strlen(c->server_lsn), (uint8_t *)c->server_lsn };
	start.subscription_ids = subscriptions;
	start.n_subscription_ids = n;
	sat_send(c, SAT_START_REQ, &start.base);
}

void
sat_start(struct sat_client *c, char **subscriptions, size_t n)
{
	struct sat_message *m;
	const SatInStartReplicationResp *answer;

	sat_ask_start(c, subscriptions, n);
	m = sat_await(c, SAT_START_RESP);
	answer = (const SatInStartReplicationResp *)m->body;
	if (answer->err != NULL)
		test_fail("client %s: replication did not start: %s", c->id, answer->err->message);
	sat_message_free(m);
}

struct sat_client *
sat_begin(unsigned port, const char *id, const char *user_id)
{
	static unsigned n;
	char next[16];
	struct sat_client *c;

	snprintf(next, sizeof next, "c%u", n++);
	c = sat_connect(port, id != NULL ? id : next);
	sat_login(c, user_id);
	sat_start(c, NULL, 0);
	return c;
}

void
sat_ask_subscription(struct sat_client *c, const char *subscription_id, const char *const *tables, size_t n)
{
	SatSubsReq request = SAT_SUBS_REQ__INIT;
	SatShapeReq shape = SAT_SHAPE_REQ__INIT, *shapes[] = { &shape };
	SatShapeDef def = SAT_SHAPE_DEF__INIT;
	SatShapeDef__Select selects[16], *pointers[16];

	for (size_t i = 0; i < n; i++) {
		sat_shape_def__select__init(&selects[i]);
		selects[i].tablename = (char *)(uintptr_t)tables[i];
		pointers[i] = &selects[i];
	}
	def.selects = pointers;
	def.n_selects = n;
	shape.request_id = (char *)(uintptr_t) "00000000-0000-4000-8000-000000000001";
	shape.shape_definition = &def;
	request.subscription_id = (char *)(uintptr_t)subscription_id;
	request.shape_requests = shapes;
	request.n_shape_requests = 1;
	sat_send(c, SAT_SUBS_REQ, &request.base);
}

void
sat_subscribe(struct sat_client *c, const char *subscription_id, const char *const *tables, size_t n,
    void (*on_row)(struct sat_client *c, const SatOpInsert *row))
{
	struct sat_message *m;
	bool done = false;

	sat_ask_subscription(c, subscription_id, tables, n);
	m = sat_await(c, SAT_SUBS_RESP);
	if (((const SatSubsResp *)m->body)->err != NULL)
		test_fail(
		    "client %s: no subscription: %s", c->id, ((const SatSubsResp *)m->body)->err->message);
	sat_message_free(m);
	sat_message_free(sat_await(c, SAT_SUBS_DATA_BEGIN));
	while (!done) {
		m = sat_next(c);
		if (m == NULL || m->code == SAT_SUBS_DATA_ERROR)
			test_fail("client %s: the delivery failed", c->id);
		done = m->code == SAT_SUBS_DATA_END;
		if (m->code == SAT_OP_LOG && on_row != NULL) {
			const SatOpLog *log = (const SatOpLog *)m->body;

			for (size_t i = 0; i < log->n_ops; i++)
				on_row(c, log->ops[i]->insert);
		}
		sat_message_free(m);
	}
}

// ---- rows

const struct sat_relation *
sat_relation(const struct sat_client *c, uint32_t id)
{
	for (size_t i = 0; i < c->n_relations; i++)
		if (c->relations[i].id == id)
			return &c->relations[i];
	return NULL;
}

const struct sat_relation *
sat_relation_named(const struct sat_client *c, const char *name)
{
	for (size_t i = 0; i < c->n_relations; i++)
		if (strcmp(c->relations[i].name, name) == 0)
			return &c->relations[i];
	return NULL;
}

const char *
sat_value(const struct sat_relation *r, const SatOpRow *row, const char *column)
{
	static char ring[8][1024];
	static unsigned next;

	for (size_t i = 0; r != NULL && row != NULL && i < r->n && i < row->n_values; i++) {
		char *out = ring[next % 8];

		if (strcmp(r->columns[i], column) != 0)
			continue;
		if (row->nulls_bitmask.data[i / 8] & 0x80 >> i % 8)
			return NULL;
		next++;
		snprintf(
		    out, sizeof ring[0], "%.*s", (int)row->values[i].len, (const char *)row->values[i].data);
		return out;
	}
	return NULL;
}

// ---- writing

/* The client's own relation ids: the index of the server's announcement. */
static void
announce(struct sat_client *c)
{
	if (c->announced)
		return;
	for (size_t i = 0; i < c->n_relations; i++) {
		SatRelation r = SAT_RELATION__INIT;
		SatRelationColumn columns[32], *pointers[32];

		for (size_t k = 0; k < c->relations[i].n; k++) {
			sat_relation_column__init(&columns[k]);
			columns[k].name = c->relations[i].columns[k];
			columns[k].type = c->relations[i].types[k];
			pointers[k] = &columns[k];
		}
		r.schema_name = (char *)(uintptr_t) "public";
		r.table_name = c->relations[i].name;
		r.relation_id = (uint32_t)i;
		r.columns = pointers;
		r.n_columns = c->relations[i].n;
		sat_send(c, SAT_RELATION, &r.base);
	}
	c->announced = true;
}

static SatOpRow *
row_of(struct arena *a, const char *const *values, size_t n)
{
	struct sat_value *v = arena_zalloc(a, n * sizeof *v);

	for (size_t i = 0; i < n; i++)
		if (values[i] != NULL)
			v[i] = (struct sat_value){ (const uint8_t *)values[i], strlen(values[i]) };
	return sat_row(a, v, n);
}

static SatTransOp *
make_op(struct arena *a, const struct sat_client *c, const struct sat_write_op *w)
{
	const struct sat_relation *r = sat_relation_named(c, w->table);
	SatTransOp *op = arena_alloc(a, sizeof *op);
	uint32_t id;
	char **tags = (char **)(uintptr_t)w->observed;

	if (r == NULL)
		test_fail("client %s: table %s was never announced", c->id, w->table);
	id = (uint32_t)(r - c->relations);
	sat_trans_op__init(op);
	if (w->kind == SAT_INSERT) {
		op->op_case = SAT_TRANS_OP__OP_INSERT;
		op->insert = arena_alloc(a, sizeof *op->insert);
		sat_op_insert__init(op->insert);
		op->insert->relation_id = id;
		op->insert->row_data = row_of(a, w->row, r->n);
		op->insert->tags = tags;
		op->insert->n_tags = w->n_observed;
	} else if (w->kind == SAT_UPDATE) {
		op->op_case = SAT_TRANS_OP__OP_UPDATE;
		op->update = arena_alloc(a, sizeof *op->update);
		sat_op_update__init(op->update);
		op->update->relation_id = id;
		op->update->row_data = row_of(a, w->row, r->n);
		op->update->old_row_data = w->old != NULL ? row_of(a, w->old, r->n) : NULL;
		op->update->tags = tags;
		op->update->n_tags = w->n_observed;
	} else {
		op->op_case = SAT_TRANS_OP__OP_DELETE;
		op->delete_ = arena_alloc(a, sizeof *op->delete_);
		sat_op_delete__init(op->delete_);
		op->delete_->relation_id = id;
		op->delete_->old_row_data = row_of(a, w->row, r->n);
		op->delete_->tags = tags;
		op->delete_->n_tags = w->n_observed;
	}
	return op;
}

void
sat_write_lsn(struct sat_client *c, const void *lsn, size_t lsn_len, uint64_t timestamp,
    const struct sat_write_op *ops, size_t n)
{
	struct arena a = { 0 };
	SatOpLog log = SAT_OP_LOG__INIT;
	SatTransOp begin_op = SAT_TRANS_OP__INIT, commit_op = SAT_TRANS_OP__INIT;
	SatOpBegin begin = SAT_OP_BEGIN__INIT;
	SatOpCommit commit = SAT_OP_COMMIT__INIT;

	announce(c);
	begin.commit_timestamp = timestamp;
	begin.lsn = (ProtobufCBinaryData){ lsn_len, (uint8_t *)(uintptr_t)lsn };
	begin_op.op_case = SAT_TRANS_OP__OP_BEGIN;
	begin_op.begin = &begin;
	commit_op.op_case = SAT_TRANS_OP__OP_COMMIT;
	commit_op.commit = &commit;
	log.n_ops = n + 2;
	log.ops = arena_alloc(&a, log.n_ops * sizeof *log.ops);
	log.ops[0] = &begin_op;
	for (size_t i = 0; i < n; i++)
		log.ops[i + 1] = make_op(&a, c, &ops[i]);
	log.ops[n + 1] = &commit_op;
	sat_send(c, SAT_OP_LOG, &log.base);
	arena_clear(&a);
}

void
sat_write(struct sat_client *c, uint64_t timestamp, const struct sat_write_op *ops, size_t n)
{
	uint32_t lsn = htonl(++c->next_lsn);

	sat_write_lsn(c, &lsn, sizeof lsn, timestamp, ops, n);
}

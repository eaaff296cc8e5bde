/* One websocket connection: what comes in. */
#include "conn_state.h"

#include <string.h>

#include "client.h"
#include "handshake.h"
#include "log.h"
#include "peer.h"

#define STRANGER_MESSAGE (128 * 1024) /* bytes in a message of who has not authenticated: a token fits */
#define UNTAKEN_PONGS	 4096	      /* bytes that wait before pings are no longer answered */

static struct buf control_frames; /* of the connection that is being parsed */

static ssize_t
on_ws_recv(wslay_event_context_ptr ws, uint8_t *p, size_t n, int flags, void *data)
{
	struct conn *c = data;

	(void)flags;
	if (c->in.len == 0 || c->paused || c->state != CONN_OPEN) {
		wslay_event_set_error(ws, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (n > c->in.len)
		n = c->in.len;
	memcpy(p, buf_data(&c->in), n);
	buf_take(&c->in, n);
	return (ssize_t)n;
}

/* Control frames (pong, close) that wslay makes, in pieces. */
static ssize_t
on_ws_send(wslay_event_context_ptr ws, const uint8_t *p, size_t n, int flags, void *data)
{
	(void)ws;
	(void)flags;
	(void)data;
	buf_put(&control_frames, p, n);
	return (ssize_t)n;
}

/* They join the queue, whole frames among whole frames. */
static void
send_control_frames(struct conn *c)
{
	wslay_event_send(c->ws);
	/* Of pings that come before their pongs are taken, not all need one (RFC 6455, section 5.5.3). */
	if (c->out_bytes < UNTAKEN_PONGS || wslay_event_get_close_sent(c->ws))
		conn_push(c, chunk_raw(buf_data(&control_frames), control_frames.len));
	buf_clear(&control_frames);
}

static void
on_ws_frame(wslay_event_context_ptr ws, const struct wslay_event_on_frame_recv_start_arg *arg, void *data)
{
	struct conn *c = data;
	uint64_t limit = c->is_stranger && conn_limits.max_message > STRANGER_MESSAGE
			     ? STRANGER_MESSAGE
			     : conn_limits.max_message;

	(void)ws;
	c->in_control_frame = wslay_is_ctrl_frame(arg->opcode);
	if (arg->opcode == WSLAY_CONNECTION_CLOSE && arg->payload_length == 1)
		conn_close(c, WSLAY_CODE_PROTOCOL_ERROR, ""); /* half a status: wslay lets it pass */
	if (c->state != CONN_OPEN || c->in_control_frame)
		return;
	if (arg->opcode == WSLAY_TEXT_FRAME)
		client_text(c->client);
	else if (arg->payload_length > limit || c->message.len > limit - arg->payload_length)
		conn_close(c, WSLAY_CODE_MESSAGE_TOO_BIG, "");
}

static void
on_ws_bytes(wslay_event_context_ptr ws, const struct wslay_event_on_frame_recv_chunk_arg *arg, void *data)
{
	struct conn *c = data;

	(void)ws;
	if (c->state == CONN_OPEN && !c->in_control_frame)
		buf_put(&c->message, arg->data, arg->data_length);
}

static void
on_ws_message(wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *arg, void *data)
{
	struct conn *c = data;

	(void)ws;
	if (c->state != CONN_OPEN || wslay_is_ctrl_frame(arg->opcode))
		return;
	client_message(c->client, buf_data(&c->message), c->message.len);
	buf_clear(&c->message);
}

static bool
open_websocket(struct conn *c)
{
	static const struct wslay_event_callbacks callbacks = { .recv_callback = on_ws_recv,
		.send_callback = on_ws_send,
		.on_frame_recv_start_callback = on_ws_frame,
		.on_frame_recv_chunk_callback = on_ws_bytes,
		.on_msg_recv_callback = on_ws_message };

	if (wslay_event_context_server_init(&c->ws, &callbacks, c) != 0)
		return false;
	/* Messages are put together here: wslay would take memory for what a header announces, and a piece
	 * of it for each fragment. So its limit is of the frame alone. */
	wslay_event_config_set_no_buffering(c->ws, 1);
	wslay_event_config_set_max_recv_msg_length(c->ws, conn_limits.max_frame);
	ev_timer_stop(loop(), &c->deadline);
	ev_timer_set(&c->deadline, (double)conn_limits.auth_time, 0.);
	ev_timer_start(loop(), &c->deadline);
	c->state = CONN_OPEN;
	c->client = client_new(c);
	return true;
}

static void
take_handshake(struct conn *c)
{
	struct buf out = { 0 };
	enum handshake_result r = handshake(&c->in, &out);

	if (out.len > 0)
		conn_push(c, chunk_raw(buf_data(&out), out.len));
	buf_clear(&out);
	if (r == HANDSHAKE_REFUSED || (r == HANDSHAKE_UPGRADED && !open_websocket(c)))
		conn_close(c, 0, "");
}

/* Handles the bytes that have come. */
void
conn_parse(struct conn *c)
{
	if (c->state == CONN_HANDSHAKE)
		take_handshake(c);
	if (c->state != CONN_OPEN || c->parsing)
		return;
	c->parsing = true;
	if (wslay_event_recv(c->ws) != 0 && c->state == CONN_OPEN) {
		log_debug("websocket-error", "address=%s", c->address);
		conn_close(c, WSLAY_CODE_PROTOCOL_ERROR, "");
	}
	if (wslay_event_want_write(c->ws) && c->state == CONN_OPEN)
		send_control_frames(c);
	/* The other side's close was answered, or wslay has refused what came: the answer is queued. */
	if (c->state == CONN_OPEN &&
	    (wslay_event_get_close_received(c->ws) || wslay_event_get_close_sent(c->ws))) {
		conn_begin_closing(c);
		client_closed(c->client);
		c->client = NULL;
	}
	c->parsing = false;
	if (c->in.len == 0)
		buf_clear(&c->in); /* who is idle has no memory for what may come */
}

/* The upgrade from HTTP to websocket. */
#include "handshake.h"

#include <http_parser.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define GUID	  "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, section 1.3 */
#define VALUE_MAX 128 /* of the headers that matter; a longer value fits none of them */

struct request {
	char field[32], value[VALUE_MAX]; /* the header that is being read */
	bool in_value;
	char path[16];
	char key[VALUE_MAX], version[VALUE_MAX];
	unsigned hosts;
	bool upgrade_websocket, connection_upgrade, whole;
};

static void
append(char *to, size_t size, const char *p, size_t n)
{
	size_t len = strlen(to);

	if (len + n >= size)
		n = size - len - 1;
	memcpy(to + len, p, n);
	to[len + n] = '\0';
}

/* Is `word` one of the comma-separated tokens of a header's value? */
static bool
has_token(const char *value, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = value; *p != '\0'; p += *p != '\0') {
		p += strspn(p, " \t");
		if (strncasecmp(p, word, n) == 0 && strchr(", \t", p[n]) != NULL)
			return true;
		p += strcspn(p, ",");
	}
	return false;
}

static void
header_done(struct request *r)
{
	size_t n = strlen(r->value);

	while (n > 0 && strchr(" \t", r->value[n - 1]) != NULL)
		r->value[--n] = '\0';
	if (strcasecmp(r->field, "Upgrade") == 0)
		r->upgrade_websocket |= has_token(r->value, "websocket");
	else if (strcasecmp(r->field, "Connection") == 0)
		r->connection_upgrade |= has_token(r->value, "upgrade");
	else if (strcasecmp(r->field, "Sec-WebSocket-Key") == 0)
		append(r->key, sizeof r->key, r->value, strlen(r->value)); /* twice: no sound key */
	else if (strcasecmp(r->field, "Sec-WebSocket-Version") == 0)
		append(r->version, sizeof r->version, r->value, strlen(r->value));
	else if (strcasecmp(r->field, "Host") == 0)
		r->hosts++;
	r->field[0] = r->value[0] = '\0';
	r->in_value = false;
}

static int
on_url(http_parser *parser, const char *p, size_t n)
{
	struct request *r = parser->data;

	append(r->path, sizeof r->path, p, n);
	return 0;
}

static int
on_field(http_parser *parser, const char *p, size_t n)
{
	struct request *r = parser->data;

	if (r->in_value)
		header_done(r);
	append(r->field, sizeof r->field, p, n);
	return 0;
}

static int
on_value(http_parser *parser, const char *p, size_t n)
{
	struct request *r = parser->data;

	r->in_value = true;
	append(r->value, sizeof r->value, p, n);
	return 0;
}

static int
on_headers_complete(http_parser *parser)
{
	struct request *r = parser->data;

	header_done(r);
	r->whole = true;
	return 2; /* what follows is not HTTP */
}

static enum handshake_result
refuse(struct buf *out, const char *status, const char *headers, const char *text)
{
	buf_printf(out,
	    "HTTP/1.1 %s\r\n%sContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
	    status, headers, strlen(text), text);
	return HANDSHAKE_REFUSED;
}

/* A key is 16 bytes in base64. */
static bool
key_is_sound(const char *key)
{
	uint8_t out[32];

	return strlen(key) == 24 && strcmp(key + 22, "==") == 0 &&
	       EVP_DecodeBlock(out, (const uint8_t *)key, 24) == 18;
}

static enum handshake_result
answer(const http_parser *parser, const struct request *r, struct buf *out)
{
	uint8_t digest[SHA_DIGEST_LENGTH], accept[32];
	char text[VALUE_MAX + sizeof GUID];
	size_t path = strcspn(r->path, "?");

	if (path != 3 || strncmp(r->path, "/ws", 3) != 0)
		return refuse(out, "404 Not Found", "", "Not found\n");
	if (parser->method != HTTP_GET)
		return refuse(
		    out, "405 Method Not Allowed", "Allow: GET\r\n", "A websocket begins with GET\n");
	if (!r->upgrade_websocket || !r->connection_upgrade || parser->http_major != 1 ||
	    parser->http_minor < 1)
		return refuse(out, "426 Upgrade Required", "Upgrade: websocket\r\n", "This is a websocket\n");
	if (strcmp(r->version, "13") != 0)
		return refuse(out, "426 Upgrade Required",
		    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
		    "Only version 13 of the websocket protocol is spoken\n");
	if (r->hosts != 1)
		return refuse(out, "400 Bad Request", "", "There must be one Host\n");
	if (!key_is_sound(r->key))
		return refuse(out, "400 Bad Request", "", "Sec-WebSocket-Key is missing or malformed\n");
	strcpy(text, r->key);
	strcat(text, GUID);
	SHA1((const uint8_t *)text, strlen(text), digest);
	EVP_EncodeBlock(accept, digest, sizeof digest);
	buf_printf(out,
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Accept: %s\r\n\r\n",
	    (const char *)accept);
	return HANDSHAKE_UPGRADED;
}

enum handshake_result
handshake(struct buf *in, struct buf *out)
{
	static const http_parser_settings settings = { .on_url = on_url,
		.on_header_field = on_field,
		.on_header_value = on_value,
		.on_headers_complete = on_headers_complete };
	struct request r = { 0 };
	http_parser parser;
	size_t n;

	/* Requests are short and whole almost always: parsing from the start again is simpler than keeping
	 * state. */
	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = &r;
	n = http_parser_execute(&parser, &settings, (const char *)buf_data(in), in->len);
	if (!r.whole && HTTP_PARSER_ERRNO(&parser) != HPE_OK)
		return refuse(out, "400 Bad Request", "", "Not an HTTP request\n");
	if (!r.whole)
		return in->len < HANDSHAKE_MAX ? HANDSHAKE_SHORT
					       : refuse(out, "431 Request Header Fields Too Large", "",
						     "The request is too long\n");
	buf_take(in, n < in->len && buf_data(in)[n] == '\n' ? n + 1 : n);
	return answer(&parser, &r, out);
}

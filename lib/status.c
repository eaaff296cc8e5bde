/* Asking a running tool for its status. */
#include "status.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "exits.h"
#include "frame.h"
#include "peer.h"
#include "service.h"
#include "xalloc.h"

/* Reads frames until the wanted one; NULL when the other side closed or two seconds passed. */
static Frame *
await(int fd, struct buf *in, struct arena *a, Frame__BodyCase wanted)
{
	Frame *f;

	for (;;) {
		ssize_t n;

		while (frame_take(in, FRAME_MAX, a, &f) == FRAME_WHOLE)
			if (f->body_case == wanted)
				return f;
		n = recv(fd, buf_room(in, 65536), 65536, 0);
		if (n <= 0)
			return NULL;
		buf_added(in, (size_t)n);
	}
}

char *
status_ask(const char *socket_name, const char **error)
{
	struct timeval limit = { .tv_sec = 2 };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char *path = peer_path(socket_name), *json = NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct buf in = { 0 }, out = { 0 };
	struct arena a = { 0 };
	Hello hello = HELLO__INIT;
	AskStatus ask = ASK_STATUS__INIT;
	Frame *f;

	strncpy(addr.sun_path, path, sizeof addr.sun_path - 1);
	free(path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0) {
		*error = strerror(errno);
		goto out;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	hello.tool = (char *)(uintptr_t) "status";
	hello.version = PIPELINE_VERSION;
	frame_put(&out, FRAME__BODY_HELLO, &hello);
	frame_put(&out, FRAME__BODY_ASK_STATUS, &ask);
	if (send(fd, buf_data(&out), out.len, MSG_NOSIGNAL) != (ssize_t)out.len ||
	    (f = await(fd, &in, &a, FRAME__BODY_STATUS_TOLD)) == NULL)
		*error = "no answer within two seconds";
	else
		json = xstrdup(f->status_told->json);
out:
	if (fd >= 0)
		close(fd);
	buf_clear(&in);
	buf_clear(&out);
	arena_clear(&a);
	return json;
}

static void
render(const char *key, json_t *value, int depth)
{
	const char *k;
	json_t *v;
	size_t i;

	if (key != NULL)
		printf("%*s%s:", depth * 2, "", key);
	if (json_is_object(value)) {
		printf("\n");
		json_object_foreach(value, k, v) render(k, v, depth + 1);
	} else if (json_is_array(value)) {
		printf("%s\n", json_array_size(value) == 0 ? " none" : "");
		json_array_foreach(value, i, v)
		{
			printf("%*s-", depth * 2 + 2, "");
			render(NULL, v, depth + 1);
		}
	} else {
		char *text = json_dumps(value, JSON_ENCODE_ANY);

		printf(" %s\n", json_is_string(value) ? json_string_value(value) : text);
		free(text);
	}
}

void
status_render(const char *text)
{
	json_t *root = json_loads(text, 0, NULL), *v;
	const char *k;

	json_object_foreach(root, k, v) render(k, v, 0);
	json_decref(root);
}

int
status_print(const char *socket_name, bool as_json)
{
	const char *error = NULL;
	char *json = status_ask(socket_name, &error);

	if (json == NULL) {
		fprintf(stderr, "%s: not running, or not answering: %s\n", socket_name, error);
		return EX_UNAVAILABLE;
	}
	if (as_json)
		puts(json);
	else
		status_render(json);
	free(json);
	return EX_OK;
}

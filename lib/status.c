/* Asking a running tool for its status. */
#include "status.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "exits.h"
#include "inquiry.h"
#include "xalloc.h"

char *
status_ask(const char *socket_name, const char **error)
{
	AskStatus ask = ASK_STATUS__INIT;
	struct inquiry q = { .socket_name = socket_name,
		.body_case = FRAME__BODY_ASK_STATUS,
		.message = &ask,
		.wanted = FRAME__BODY_STATUS_TOLD };
	struct arena a = { 0 };
	char *json = NULL;

	inquire(&q, 1, &a);
	if (q.answer != NULL)
		json = xstrdup(q.answer->status_told->json);
	*error = q.error;
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

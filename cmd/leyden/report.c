/* leyden --status. Asking is done here, in the process of the one who wants to know: a tool that hangs delays
 * nobody. */
#include "report.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "service.h"
#include "status.h"

/* Adds what the tool says to its row; is it ready? */
static bool
ask_tool(json_t *tool)
{
	const char *state = json_string_value(json_object_get(tool, "state"));
	const char *error = "it does not run just now";
	char *told = NULL;

	if (json_integer_value(json_object_get(tool, "pid")) > 0)
		told = status_ask(json_string_value(json_object_get(tool, "name")), &error);
	if (told != NULL)
		json_object_set_new(tool, "status", json_loads(told, 0, NULL));
	else
		json_object_set_new(tool, "status", json_pack("{s:s}", "error", error));
	free(told);
	return state != NULL && strcmp(state, "ready") == 0;
}

int
report_print(bool as_json)
{
	const char *error = NULL;
	char *told = status_ask(service_name(), &error), *text;
	json_t *root, *tool;
	bool ready = true;
	size_t i;

	if (told == NULL) {
		fprintf(stderr, "leyden: not running, or not answering (LEYDEN_RUN_DIR=%s): %s\n",
		    service_run_dir(), error);
		return EX_UNAVAILABLE;
	}
	root = json_loads(told, 0, NULL);
	free(told);
	json_array_foreach(json_object_get(root, "tools"), i, tool) ready = ask_tool(tool) && ready;
	json_object_set_new(root, "ready", json_boolean(ready));
	text = json_dumps(root, JSON_COMPACT);
	if (as_json)
		puts(text);
	else
		status_render(text);
	free(text);
	json_decref(root);
	return EX_OK;
}

/* Errors. */
#include "trouble.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge_run.h"
#include "xalloc.h"

static struct trouble first;

void
trouble_note(const PGresult *r)
{
	const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

	if (first.message != NULL)
		return;
	snprintf(first.sqlstate, sizeof first.sqlstate, "%s", code != NULL ? code : "");
	first.message = xstrdup(text != NULL ? text : PQresultErrorMessage(r));
}

const struct trouble *
trouble_first(void)
{
	return first.message != NULL ? &first : NULL;
}

void
trouble_forget(void)
{
	free(first.message);
	first.message = NULL;
}

bool
trouble_is_passing(void)
{
	static const char *const codes[] = { "40001", "40P01", "55P03", "25006", "57014", NULL };
	const char *code = first.sqlstate;

	for (size_t i = 0; codes[i] != NULL; i++)
		if (strcmp(code, codes[i]) == 0)
			return true;
	/* Connection trouble, lack of resources, an operator's hand, a damaged system: */
	return strncmp(code, "08", 2) == 0 || strncmp(code, "53", 2) == 0 || strncmp(code, "57P", 3) == 0 ||
	       strncmp(code, "58", 2) == 0 || strncmp(code, "XX", 2) == 0 || code[0] == '\0';
}

bool
trouble_is_outdated(void)
{
	return strcmp(first.sqlstate, "42883") == 0 &&
	       strstr(first.message, "electric." MERGE_FUNCTION) != NULL;
}

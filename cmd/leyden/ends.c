/* How a tool's processes have ended. */
#include "ends.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "exits.h"

void
ends_add(struct ends *e, int status, double alive)
{
	e->kept[e->n++ % ENDS_KEPT] = (struct end){ time(NULL), status, alive };
}

static const char *
meaning(int code)
{
	static const struct {
		int code;
		const char *words;
	} codes[] = {
		{ EX_OK, "it was told to stop" },
		{ EX_USAGE, "wrong flags" },
		{ EX_DATAERR, "bad data" },
		{ EX_UNAVAILABLE, "something that it needs is not there" },
		{ EX_SOFTWARE, "a fault of its own" },
		{ EX_OSERR, "the operating system refused" },
		{ EX_IOERR, "I/O error" },
		{ EX_PROTOCOL, "protocol error" },
		{ EX_CONFIG, "its configuration" },
	};

	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (codes[i].code == code)
			return codes[i].words;
	return "unknown";
}

const char *
ends_reason(int status)
{
	static char text[96];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof text, "signal %d (%s)", WTERMSIG(status),
		    sigdescr_np(WTERMSIG(status)) != NULL ? sigdescr_np(WTERMSIG(status)) : "unknown");
	else
		snprintf(
		    text, sizeof text, "status %d (%s)", WEXITSTATUS(status), meaning(WEXITSTATUS(status)));
	return text;
}

void
ends_put(struct buf *json, const struct ends *e)
{
	buf_puts(json, "[");
	for (unsigned i = 0; i < e->n && i < ENDS_KEPT; i++) {
		const struct end *end = &e->kept[(e->n - 1 - i) % ENDS_KEPT];
		char at[32];
		struct tm tm;

		gmtime_r(&end->at, &tm);
		strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", &tm);
		buf_printf(json, "%s{\"at\":\"%s\",\"reason\":\"%s\",\"alive_seconds\":%.3f}",
		    i > 0 ? "," : "", at, ends_reason(end->status), end->alive);
	}
	buf_puts(json, "]");
}

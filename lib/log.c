/* One line on stderr an event. */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "repeats.h"

static const char *tool_name = "leyden";
static enum log_level threshold = LOG_LEVEL_INFO;
static void (*on_repeats)(double seconds);
static const char *const words[] = { "debug", "info", "warning", "error" };

void
log_init(const char *tool, enum log_level level)
{
	tool_name = tool;
	threshold = level;
}

int
log_level_parse(const char *word)
{
	for (int i = 0; i < 4; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	return -1;
}

bool
log_enabled(enum log_level level)
{
	return level >= threshold;
}

/* One write, so that lines of several processes do not mix; a long line ends in its own newline. */
static void
write_line(int level, const char *event, const char *text)
{
	char line[2048], stamp[32];
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(line, sizeof line, "%s.%03ldZ %s %s %s %s", stamp, now.tv_nsec / 1000000, words[level],
	    tool_name, event, text);
	n = strlen(line);
	while (n > 0 && line[n - 1] == ' ')
		n--;
	if (n > sizeof line - 2)
		n = sizeof line - 2;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0) {
		/* Nobody can be told. */
	}
}

void
log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	int saved = errno;
	char text[2048];
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (level == LOG_LEVEL_DEBUG || repeats_admit((int)level, event, text, write_line))
		write_line((int)level, event, text);
	else if (on_repeats != NULL)
		on_repeats(REPEATS_WINDOW);
	errno = saved;
}

void
log_on_repeats(void (*fn)(double seconds))
{
	on_repeats = fn;
}

void
log_tell_repeats(bool at_the_end)
{
	if (repeats_tell(at_the_end, write_line) && on_repeats != NULL)
		on_repeats(REPEATS_WINDOW);
}

const char *
log_quote(const char *s)
{
	static char ring[8][512];
	static unsigned next;
	char *out = ring[next++ % 8];
	size_t n = 0;

	out[n++] = '"';
	for (; *s != '\0' && n < sizeof ring[0] - 8; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\') {
			out[n++] = '\\';
			out[n++] = (char)c;
		} else if (c == '\n') {
			out[n++] = '\\';
			out[n++] = 'n';
		} else if (c < 0x20 || c == 0x7f) {
			n += (size_t)snprintf(out + n, 8, "\\x%02x", c);
		} else {
			out[n++] = (char)c;
		}
	}
	out[n++] = '"';
	out[n] = '\0';
	return out;
}

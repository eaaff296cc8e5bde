/*
 * One line on stderr an event: `time level tool event key=value …`.
 *
 * `event` is one or a few words joined by hyphens; the format makes the key=value pairs. A value that may
 * hold blanks is passed through log_quote(). errno is left as it was. Secrets are never passed here.
 *
 * Levels: error, somebody must do something; warning, something is wrong and mends itself, or costs a client
 * something; info, what an operator wants to find later; debug, everything. Above debug, lines that repeat
 * are counted (repeats.h).
 */
#ifndef LEYDEN_LOG_H
#define LEYDEN_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

void log_init(const char *tool, enum log_level level);
/* "debug", "info", "warning" or "error"; -1 when it is none of them. */
int log_level_parse(const char *word);
bool log_enabled(enum log_level level);
void log_event(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Lines were withheld: fn asks for a call of log_tell_repeats() in so many seconds. Without it they are told
 * when the next line is written. */
void log_on_repeats(void (*fn)(double seconds));
void log_tell_repeats(bool at_the_end);
/* s in double quotes with what would break the line escaped; good until the eighth next call. */
const char *log_quote(const char *s);

#define log_debug(...)                                                                                       \
	do {                                                                                                 \
		if (log_enabled(LOG_LEVEL_DEBUG))                                                            \
			log_event(LOG_LEVEL_DEBUG, __VA_ARGS__);                                             \
	} while (0)
#define log_info(...)	 log_event(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_event(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...)	 log_event(LOG_LEVEL_ERROR, __VA_ARGS__)

#endif

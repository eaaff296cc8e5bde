/* log-store --dump: the log as text, one change a line, while the service runs or not. */
#ifndef LOG_STORE_DUMP_H
#define LOG_STORE_DUMP_H

#include <stdint.h>

/* Prints to stdout from position `from` on. Returns the exit code: EX_DATAERR when a record is damaged. */
int dump_log(uint64_t from);

#endif

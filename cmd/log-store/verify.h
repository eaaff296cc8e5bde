/* log-store --check: is the file whole? */
#ifndef LOG_STORE_VERIFY_H
#define LOG_STORE_VERIFY_H

/*
 * Reads every record of the open file: checksums, positions and parts without gaps, the numbers in its own
 * records of itself. A line on stdout for each thing that is wrong, and one that sums up. EX_OK, or
 * EX_DATAERR.
 */
int verify_log(void);

#endif

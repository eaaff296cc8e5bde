/* Migrations as the ZIP file that clients' generators take. Pure. */
#ifndef HTTP_API_BUNDLE_H
#define HTTP_API_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "pipeline.pb-c.h"

/*
 * How many of the n migrations come before those that are newer than `version`: none when it is NULL or
 * empty, all when it is unknown.
 */
size_t bundle_skip(Migration *const *migrations, size_t n, const char *version);
/* The ZIP of these migrations, in this order. False when it cannot be made. */
bool bundle_make(Migration *const *migrations, size_t n, struct buf *zip);

#endif

/*
 * What all tools count and measure, as the text format of Prometheus has it. Each tool is asked once a
 * second, and what it said last is shown, so that a tool that hangs makes nobody wait.
 */
#ifndef HTTP_API_SCRAPE_H
#define HTTP_API_SCRAPE_H

#include "buf.h"

/* Begins to ask. */
void scrape_open(unsigned databases, unsigned gateways);
/* Appends all of it. A tool that has said nothing for SCRAPE_SECONDS is left out. */
#define SCRAPE_SECONDS 5.0
void scrape_put(struct buf *out);

#endif

/* The HTTP server, in the loop of the process: requests in, answers out, now or later. */
#ifndef HTTP_API_HTTP_H
#define HTTP_API_HTTP_H

#include <stdbool.h>

#include "buf.h"

struct request;

/* Opens the server on this listening socket; inside TLS when there is a certificate (certificate.h) and `tls`
 * says so. False: that cannot be. */
bool http_open(int fd, bool tls);
/* Ends the server. Every request must have been answered. */
void http_close(void);

/* The parameter of the query string; NULL when it is missing. */
const char *http_parameter(const struct request *r, const char *name);
/* The answer. `type` may be NULL: none is said. The body is copied. Only the first answer counts. */
void http_answer(struct request *r, unsigned status, const char *type, const struct buf *body);
void http_answer_text(struct request *r, unsigned status, const char *text);
/*
 * The request waits: fn is called when `seconds` are over and it has no answer yet. Waiting requests form a
 * list: http_waiting(NULL) is the first, http_waiting(r) the one after r; answering one takes it off.
 */
void http_wait(struct request *r, double seconds, void (*fn)(struct request *r));
struct request *http_waiting(const struct request *r);

/* In api.c: what a GET of this path is answered with. Answers, or waits. */
void api_get(struct request *r, const char *path);

#endif

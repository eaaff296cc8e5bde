/*
 * The messages of Postgres' logical decoding plugin pgoutput, protocol version 1 with messages: bytes in,
 * structs out, no I/O. Whatever the bytes are, nothing is read beyond their end.
 */
#ifndef LEYDEN_PGOUTPUT_H
#define LEYDEN_PGOUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"

/* The first byte of a message. */
enum pgo_kind {
	PGO_BEGIN = 'B',
	PGO_COMMIT = 'C',
	PGO_RELATION = 'R',
	PGO_INSERT = 'I',
	PGO_UPDATE = 'U',
	PGO_DELETE = 'D',
	PGO_TRUNCATE = 'T',
	PGO_MESSAGE = 'M',
	PGO_ORIGIN = 'O',
	PGO_TYPE = 'Y'
};

struct pgo_value {
	const uint8_t *text; /* NULL: the value is NULL, or unchanged */
	uint32_t len;
	bool unchanged; /* a value out of line that the update left alone: it is the old row's */
};

struct pgo_tuple {
	struct pgo_value *values;
	unsigned n;
};

struct pgo_begin {
	uint64_t final_lsn; /* where the commit's record begins */
	int64_t time;	    /* of the commit: µs since 2000-01-01 UTC */
	uint32_t xid;
};

struct pgo_commit {
	uint64_t commit_lsn, end_lsn;
	int64_t time;
};

struct pgo_relation {
	uint32_t id;
	const char *schema, *name;
	char identity; /* 'f' for REPLICA IDENTITY FULL */
	const char **columns;
	unsigned n_columns;
};

struct pgo_row {
	uint32_t relation;
	char old_kind;		   /* 'O' the whole old row, 'K' its key only, 0 none */
	struct pgo_tuple old, row; /* an insert has no old, a delete no row */
};

struct pgo_truncate {
	const uint8_t *relations; /* n big-endian oids */
	uint32_t n;
};

struct pgo_message {
	bool transactional;
	uint64_t lsn;
	const char *prefix;
	const uint8_t *content;
	uint32_t len;
};

struct pgo {
	enum pgo_kind kind;
	union {
		struct pgo_begin begin;
		struct pgo_commit commit;
		struct pgo_relation relation;
		struct pgo_row row;
		struct pgo_truncate truncate;
		struct pgo_message message;
	};
};

/*
 * False: it is none of the messages, or is too short or too long. What is decoded points into the bytes,
 * lists are in the arena. PGO_ORIGIN and PGO_TYPE have nothing that is of use here and are not looked into.
 */
bool pgo_decode(struct arena *a, const uint8_t *bytes, size_t n, struct pgo *out);

#endif

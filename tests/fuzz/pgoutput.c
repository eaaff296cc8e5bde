/* Messages of pgoutput. Each byte that a decoded message points to is looked at. */
#include "../../cmd/pg-ingest/pgoutput.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint8_t sum;

static void
look(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)p)[i]);
}

static void
look_at_tuple(const struct pgo_tuple *t)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->values[i].text != NULL)
			look(t->values[i].text, t->values[i].len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena a = { 0 };
	struct pgo m;

	if (pgo_decode(&a, data, n, &m)) {
		switch (m.kind) {
		case PGO_RELATION:
			look(m.relation.schema, strlen(m.relation.schema));
			look(m.relation.name, strlen(m.relation.name));
			for (unsigned i = 0; i < m.relation.n_columns; i++)
				look(m.relation.columns[i], strlen(m.relation.columns[i]));
			break;
		case PGO_INSERT:
		case PGO_UPDATE:
		case PGO_DELETE:
			look_at_tuple(&m.row.old);
			look_at_tuple(&m.row.row);
			break;
		case PGO_TRUNCATE:
			look(m.truncate.relations, 4 * (size_t)m.truncate.n);
			break;
		case PGO_MESSAGE:
			look(m.message.prefix, strlen(m.message.prefix));
			look(m.message.content, m.message.len);
			break;
		default:
			break;
		}
	}
	arena_clear(&a);
	return 0;
}

/* What a subscription may ask for. */
#include "shape.h"

#include <ctype.h>
#include <string.h>

#include "buf.h"
#include "schema.h"

#define ID_MAX	  128 /* bytes */
#define TABLE_MAX 64  /* characters */

typedef SatSubsResp__SatSubsError__ShapeReqError ShapeError;
typedef SatSubsResp__SatSubsError__ShapeReqError__Code ShapeCode;

#define CODE(name) SAT_SUBS_RESP__SAT_SUBS_ERROR__SHAPE_REQ_ERROR__CODE__##name

static bool
is_uuid(const char *s)
{
	if (strlen(s) != 36)
		return false;
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !(isdigit((unsigned char)s[i]) || (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	}
	return true;
}

static bool
has_duplicate_ids(const SatSubsReq *r)
{
	for (size_t i = 0; i < r->n_shape_requests; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(r->shape_requests[i]->request_id, r->shape_requests[k]->request_id) == 0)
				return true;
	return false;
}

/* Characters of UTF-8; -1 when there is one that cannot be printed. */
static long
printable_length(const char *s)
{
	long n = 0;

	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f)
			return -1;
		n += (c & 0xc0) != 0x80;
	}
	return n;
}

static bool
selects(const SatShapeDef *def, const char *table)
{
	for (size_t i = 0; i < def->n_selects; i++)
		if (strcmp(def->selects[i]->tablename, table) == 0)
			return true;
	return false;
}

/* Adds a name to a comma-separated list unless it is there. True: it was added. */
static bool
add_name(struct buf *names, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = names->len > 0 ? buf_cstr(names) : NULL; p != NULL && *p != '\0';) {
		size_t word = strcspn(p, ",");

		if (word == n && strncmp(p, name, n) == 0)
			return false;
		p += word + (p[word] == ',');
	}
	if (names->len > 0)
		buf_puts(names, ",");
	buf_puts(names, name);
	return true;
}

/* Adds to `missing` the tables that this one's foreign keys lead to, near and far, and that are not selected.
 */
static void
follow_foreign_keys(struct buf *missing, const SatShapeDef *def, const struct table_version *t)
{
	for (size_t i = 0; t != NULL && i < t->def->n_foreign_keys; i++) {
		const ForeignKey *fk = t->def->foreign_keys[i];
		bool is_public = strcmp(fk->ref_schema, "public") == 0;

		if ((!is_public || !selects(def, fk->ref_table)) && add_name(missing, fk->ref_table) &&
		    is_public)
			follow_foreign_keys(missing, def, schema_find(fk->ref_table));
	}
}

static ShapeError *
shape_error(struct arena *a, ShapeCode code, const char *text, const char *request_id)
{
	ShapeError *e = arena_alloc(a, sizeof *e);

	sat_subs_resp__sat_subs_error__shape_req_error__init(e);
	e->code = code;
	e->message = arena_strdup(a, text);
	e->request_id = arena_strdup(a, request_id);
	return e;
}

/* The first thing that is wrong with one shape; NULL: nothing. */
static ShapeError *
check_shape(struct arena *a, const SatShapeReq *r)
{
	const SatShapeDef *def = r->shape_definition;
	struct buf names = { 0 };
	ShapeError *e = NULL;

	if (def == NULL || def->n_selects == 0)
		return shape_error(
		    a, CODE(EMPTY_SHAPE_DEFINITION), "Empty shape requests are not allowed", r->request_id);
	for (size_t i = 0; i < def->n_selects; i++) {
		long n = printable_length(def->selects[i]->tablename);

		if (n <= 0 || n > TABLE_MAX)
			return shape_error(a, CODE(TABLE_NOT_FOUND), "Invalid table name", r->request_id);
	}
	for (size_t i = 0; i < def->n_selects; i++)
		if (schema_find(def->selects[i]->tablename) == NULL)
			add_name(&names, def->selects[i]->tablename);
	if (names.len > 0) {
		e = shape_error(a, CODE(TABLE_NOT_FOUND),
		    arena_printf(a, "Unknown tables: %s", buf_cstr(&names)), r->request_id);
		goto out;
	}
	for (size_t i = 0; i < def->n_selects && e == NULL; i++)
		for (size_t k = 0; k < i && e == NULL; k++)
			if (strcmp(def->selects[i]->tablename, def->selects[k]->tablename) == 0)
				e = shape_error(a, CODE(DUPLICATE_TABLE_IN_SHAPE_DEFINITION),
				    "Cannot select same table twice", r->request_id);
	if (e != NULL)
		goto out;
	for (size_t i = 0; i < def->n_selects; i++)
		follow_foreign_keys(&names, def, schema_find(def->selects[i]->tablename));
	if (names.len > 0)
		e = shape_error(a, CODE(REFERENTIAL_INTEGRITY_VIOLATION),
		    arena_printf(a,
			"Some tables are missing from the shape request, but are referenced by FKs on the "
			"requested "
			"tables: %s",
			buf_cstr(&names)),
		    r->request_id);
out:
	buf_clear(&names);
	return e;
}

static SatSubsResp *
refuse(struct arena *a, const char *id, const char *message)
{
	SatSubsResp *r = arena_alloc(a, sizeof *r);

	sat_subs_resp__init(r);
	r->subscription_id = arena_strdup(a, id);
	r->err = arena_alloc(a, sizeof *r->err);
	sat_subs_resp__sat_subs_error__init(r->err);
	r->err->message = arena_strdup(a, message);
	return r;
}

SatSubsResp *
shape_check(struct arena *a, const SatSubsReq *r, bool taken)
{
	ShapeError **errors = arena_alloc(a, r->n_shape_requests * sizeof *errors);
	SatSubsResp *answer;
	size_t n = 0;

	if (strlen(r->subscription_id) >
	    ID_MAX) /* the reference cuts off the first character; its clients match on it */
		return refuse(a, arena_printf(a, "%.*s...", ID_MAX, r->subscription_id + 1), "ID too long");
	if (taken)
		return refuse(a, r->subscription_id,
		    "Cannot establish multiple subscriptions with the same ID. If you want to change the "
		    "subscription, you need to unsubscribe first.");
	if (r->n_shape_requests == 0)
		return refuse(a, r->subscription_id, "Subscription must include at least one shape request");
	if (!is_uuid(r->subscription_id))
		return refuse(a, r->subscription_id, "Subscription ID should be a valid UUID");
	if (has_duplicate_ids(r))
		return refuse(a, r->subscription_id, "Duplicated request ids are not allowed");
	for (size_t i = 0; i < r->n_shape_requests; i++)
		if ((errors[n] = check_shape(a, r->shape_requests[i])) != NULL)
			n++;
	if (n == 0)
		return NULL;
	answer =
	    refuse(a, r->subscription_id, "Could not establish a subscription due to errors on requests");
	answer->err->shape_request_error = errors;
	answer->err->n_shape_request_error = n;
	return answer;
}

/* Expressions of Postgres as SQLite has to read them: a walk over the parse tree that libpg_query gives as
 * JSON. */
#include "sqlite_expr.h"

#include <ctype.h>
#include <jansson.h>
#include <pg_query.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEPTH_MAX 100
#define LIST_MAX  1000

/* Of version 4, as Postgres writes them. */
#define RANDOM_UUID                                                                                          \
	"(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) "   \
	"|| '-' || "                                                                                         \
	"substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || "                  \
	"hex(randomblob(6))))"

struct translation {
	struct arena *arena;
	const char *source; /* the whole statement */
	enum expr_use use;
	const char *type;
	unsigned depth;
};

static char *translate(struct translation *t, const json_t *node);

char *
sqlite_identifier(struct arena *a, const char *name)
{
	char *out = arena_alloc(a, strlen(name) * 2 + 3), *p = out;

	*p++ = '"';
	for (; *name != '\0'; name++) {
		if (*name == '"')
			*p++ = '"';
		*p++ = *name;
	}
	*p++ = '"';
	*p = '\0';
	return out;
}

static char *
quote_text(struct arena *a, const char *s)
{
	char *out = arena_alloc(a, strlen(s) * 2 + 3), *p = out;

	*p++ = '\'';
	for (; *s != '\0'; s++) {
		if (*s == '\'')
			*p++ = '\'';
		*p++ = *s;
	}
	*p++ = '\'';
	*p = '\0';
	return out;
}

static bool
is_one_of(const char *s, const char *const *list)
{
	for (; *list != NULL; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

static const char *const integers[] = { "int2", "int4", "int8", NULL };
static const char *const reals[] = { "float4", "float8", "numeric", "money", NULL };
static const char *const texts[] = { "text", "varchar", "bpchar", "char", NULL };
static const char *const times[] = { "date", "time", "timetz", "timestamp", "timestamptz", NULL };

const char *
sqlite_type(const char *type)
{
	if (is_one_of(type, integers) || strcmp(type, "bool") == 0)
		return "INTEGER";
	if (is_one_of(type, reals))
		return "REAL";
	if (strcmp(type, "bytea") == 0 || strcmp(type, "uuid") == 0)
		return "BLOB";
	if (strcmp(type, "json") == 0 || strcmp(type, "jsonb") == 0)
		return "TEXT_JSON";
	return "TEXT";
}

static const char *
string_of(const json_t *node)
{
	return json_string_value(json_object_get(json_object_get(node, "String"), "sval"));
}

/* The last part of a qualified name, if what stands before it is nothing or pg_catalog; with any: whatever it
 * is. */
static const char *
last_name(const json_t *names, bool any)
{
	size_t n = json_array_size(names);
	const char *schema = n == 2 ? string_of(json_array_get(names, 0)) : NULL;

	if (n == 0 || n > 2 || (n == 2 && !any && (schema == NULL || strcmp(schema, "pg_catalog") != 0)))
		return NULL;
	return string_of(json_array_get(names, n - 1));
}

// ---- constants

static bool
is_number(const char *s)
{
	char *end;

	if (*s == '-')
		s++;
	if (!isdigit((unsigned char)*s) && *s != '.')
		return false;
	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		return false;
	strtod(s, &end);
	return *end == '\0';
}

/* libpg_query leaves an integer out of its JSON unless it is positive: then the text says what it is. */
static char *
translate_integer(struct translation *t, const json_t *node)
{
	const json_t *value = json_object_get(json_object_get(node, "ival"), "ival");
	json_int_t at = json_integer_value(json_object_get(node, "location"));
	bool negative = false;

	if (json_is_integer(value))
		return arena_printf(t->arena, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	if (at < 0 || (size_t)at >= strlen(t->source))
		return NULL;
	while (t->source[at] == '-' || t->source[at] == ' ')
		negative |= t->source[at++] == '-';
	if (!isdigit((unsigned char)t->source[at]))
		return NULL;
	return arena_printf(t->arena, "%s%lld", negative ? "-" : "", strtoll(t->source + at, NULL, 10));
}

static char *
translate_constant(struct translation *t, const json_t *node)
{
	const json_t *v;

	if (json_is_true(json_object_get(node, "isnull")))
		return arena_strdup(t->arena, "NULL");
	if ((v = json_object_get(node, "sval")) != NULL) {
		const char *s = json_string_value(json_object_get(v, "sval"));

		return quote_text(t->arena, s != NULL ? s : "");
	}
	if ((v = json_object_get(node, "fval")) != NULL) {
		const char *s = json_string_value(json_object_get(v, "fval"));

		return s != NULL && is_number(s) ? arena_strdup(t->arena, s) : NULL;
	}
	if ((v = json_object_get(node, "boolval")) != NULL) {
		/* Clients hold a boolean as 1 and 0, or as t and f: only a default may name it. */
		if (t->use != EXPR_DEFAULT || t->depth > 1)
			return NULL;
		return arena_strdup(t->arena, json_is_true(json_object_get(v, "boolval")) ? "1" : "0");
	}
	return json_object_get(node, "ival") != NULL ? translate_integer(t, node) : NULL;
}

/* '\x2F' as x'2F'. */
static char *
translate_bytes(struct translation *t, const char *s)
{
	if (s[0] != '\\' || s[1] != 'x' || strspn(s + 2, "0123456789abcdefABCDEF") != strlen(s + 2))
		return NULL;
	return arena_printf(t->arena, "x'%s'", s + 2);
}

/* A constant in quotes, cast to a type. `own` is the type of the column whose default it is. */
static char *
translate_typed_text(struct translation *t, const char *s, const char *type, bool own)
{
	if (is_one_of(type, texts))
		return quote_text(t->arena, s);
	if (is_one_of(type, integers) || is_one_of(type, reals)) {
		if (!is_number(s)) /* NaN, Infinity, $1.00 */
			return t->use == EXPR_DEFAULT && t->depth == 1 ? quote_text(t->arena, s) : NULL;
		return own ? arena_strdup(t->arena, s)
			   : arena_printf(
				 t->arena, "(CAST(%s AS %s))", quote_text(t->arena, s), sqlite_type(type));
	}
	if (strcmp(type, "bool") == 0)
		return own ? arena_strdup(t->arena, s[0] == 't' ? "1" : "0") : NULL;
	if (strcmp(type, "bytea") == 0)
		return translate_bytes(t, s);
	/* A whole default has the text of its type, whatever that is. */
	if (own || (t->use == EXPR_DEFAULT && t->depth == 1) || is_one_of(type, times) ||
	    strcmp(type, "uuid") == 0)
		return quote_text(t->arena, s);
	return NULL;
}

/* A constant, or an empty list: what travels of an array is its text. */
static char *
translate_array(struct translation *t, const json_t *arg)
{
	const json_t *constant = json_object_get(arg, "A_Const"), *list = json_object_get(arg, "A_ArrayExpr");

	if (t->use != EXPR_DEFAULT)
		return NULL;
	if (constant != NULL)
		return translate_constant(t, constant);
	return list != NULL && json_array_size(json_object_get(list, "elements")) == 0
		   ? arena_strdup(t->arena, "'{}'")
		   : NULL;
}

static char *
translate_cast(struct translation *t, const json_t *node)
{
	const json_t *arg = json_object_get(node, "arg"), *constant = json_object_get(arg, "A_Const");
	const json_t *name = json_object_get(node, "typeName");
	const char *type = last_name(json_object_get(name, "names"), true), *text;
	bool own = t->use == EXPR_DEFAULT && t->type != NULL && type != NULL && strcmp(type, t->type) == 0;
	char *inner;

	if (type == NULL)
		return NULL;
	if (json_object_get(name, "arrayBounds") != NULL)
		return translate_array(t, arg);
	if (constant != NULL && json_is_true(json_object_get(constant, "isnull")))
		return arena_strdup(t->arena, "NULL");
	if (json_object_get(constant, "sval") != NULL) {
		text = json_string_value(json_object_get(json_object_get(constant, "sval"), "sval"));
		return translate_typed_text(t, text != NULL ? text : "", type, own);
	}
	if (constant == NULL && json_object_get(arg, "ColumnRef") == NULL && !own)
		return NULL;
	if (constant == NULL && !is_one_of(type, texts) && !is_one_of(type, reals))
		return NULL;
	inner = translate(t, arg);
	if (inner == NULL || (own && constant != NULL))
		return inner;
	return arena_printf(t->arena, "(CAST(%s AS %s))", inner, sqlite_type(type));
}

// ---- what is made of others

static char *
translate_column(struct translation *t, const json_t *node)
{
	const json_t *fields = json_object_get(node, "fields");
	const char *name = string_of(json_array_get(fields, json_array_size(fields) - 1));

	if (t->use == EXPR_DEFAULT || name == NULL)
		return NULL;
	return sqlite_identifier(t->arena, name);
}

/* "(a op b op c)" of a list; NULL if one of them cannot be translated. */
static char *
translate_list(
    struct translation *t, const json_t *list, const char *open, const char *between, const char *close)
{
	const char *out = open;
	size_t n = json_array_size(list);

	if (n > LIST_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		char *item = translate(t, json_array_get(list, i));

		if (item == NULL)
			return NULL;
		out = arena_printf(t->arena, "%s%s%s", out, i > 0 ? between : "", item);
	}
	return arena_printf(t->arena, "%s%s", out, close);
}

/* a = ANY (ARRAY[...]), which is how Postgres keeps IN. */
static char *
translate_in(struct translation *t, const json_t *node, const char *kind, const char *operator)
{
	const json_t *right = json_object_get(node, "rexpr"), *cast = json_object_get(right, "TypeCast");
	const json_t *list = json_object_get(json_object_get(right, "List"), "items");
	bool all = strcmp(kind, "AEXPR_OP_ALL") == 0;
	char *left = translate(t, json_object_get(node, "lexpr")), *items;

	if (list == NULL)
		list = json_object_get(
		    json_object_get(cast != NULL ? json_object_get(cast, "arg") : right, "A_ArrayExpr"),
		    "elements");
	if (left == NULL || list == NULL || strcmp(operator, all ? "<>" : "=") != 0)
		return NULL;
	items = translate_list(t, list, "(", ", ", ")");
	return items == NULL ? NULL
			     : arena_printf(t->arena, "(%s %s %s)", left, all ? "NOT IN" : "IN", items);
}

static char *
translate_operator(struct translation *t, const json_t *node)
{
	static const char *const known[] = { "+", "-", "*", "/", "%", "=", "<>", "<", ">", "<=", ">=", "||",
		NULL };
	const char *kind = json_string_value(json_object_get(node, "kind"));
	const char *operator= last_name(json_object_get(node, "name"), false);
	const json_t *left = json_object_get(node, "lexpr");
	char *l, *r;

	if (kind == NULL || operator== NULL)
		return NULL;
	if (strcmp(kind, "AEXPR_OP_ANY") == 0 || strcmp(kind, "AEXPR_OP_ALL") == 0 ||
	    strcmp(kind, "AEXPR_IN") == 0)
		return translate_in(t, node, kind, operator);
	if (strcmp(kind, "AEXPR_OP") != 0 || !is_one_of(operator, known))
		return NULL;
	r = translate(t, json_object_get(node, "rexpr"));
	if (left == NULL)
		return r != NULL && strcmp(operator, "-") == 0 ? arena_printf(t->arena, "(- %s)", r) : NULL;
	l = translate(t, left);
	return l == NULL || r == NULL ? NULL : arena_printf(t->arena, "(%s %s %s)", l, operator, r);
}

static char *
translate_logic(struct translation *t, const json_t *node)
{
	const char *op = json_string_value(json_object_get(node, "boolop"));
	const json_t *args = json_object_get(node, "args");

	/* A boolean column is t and f for some clients, which are no truth values of SQLite. */
	for (size_t i = 0; i < json_array_size(args); i++)
		if (json_object_get(json_array_get(args, i), "ColumnRef") != NULL)
			return NULL;
	if (op == NULL)
		return NULL;
	if (strcmp(op, "NOT_EXPR") == 0)
		return translate_list(t, args, "(NOT ", "", ")");
	return translate_list(t, args, "(", strcmp(op, "AND_EXPR") == 0 ? " AND " : " OR ", ")");
}

static char *
translate_null_test(struct translation *t, const json_t *node)
{
	const char *kind = json_string_value(json_object_get(node, "nulltesttype"));
	char *arg = translate(t, json_object_get(node, "arg"));

	if (arg == NULL || kind == NULL)
		return NULL;
	return arena_printf(t->arena, "%s IS %s", arg, strcmp(kind, "IS_NULL") == 0 ? "NULL" : "NOT NULL");
}

static char *
translate_concat(struct translation *t, const json_t *args)
{
	const char *out = "(";

	for (size_t i = 0; i < json_array_size(args); i++) {
		char *item = translate(t, json_array_get(args, i));

		if (item == NULL)
			return NULL;
		out = arena_printf(t->arena, "%s%scoalesce(%s, '')", out, i > 0 ? " || " : "", item);
	}
	return arena_printf(t->arena, "%s)", out);
}

/* SQLite's clock is that of UTC. */
static bool
is_utc(const json_t *node)
{
	const json_t *cast = json_object_get(node, "TypeCast");
	const char *zone = json_string_value(json_object_get(
	    json_object_get(
		json_object_get(cast != NULL ? json_object_get(cast, "arg") : node, "A_Const"), "sval"),
	    "sval"));

	return zone != NULL && (strcasecmp(zone, "utc") == 0 || strcasecmp(zone, "gmt") == 0);
}

/* The time now, as the default's type has it. A check that looks at the clock is none in SQLite. */
static char *
translate_now(struct translation *t)
{
	const char *type = t->type;

	if (t->use != EXPR_DEFAULT)
		return NULL;
	if (type != NULL && strcmp(type, "date") == 0)
		return arena_strdup(t->arena, "current_date");
	if (type != NULL && (strcmp(type, "time") == 0 || strcmp(type, "timetz") == 0))
		return arena_strdup(t->arena, "current_time");
	return arena_strdup(t->arena, "current_timestamp");
}

static char *
translate_function(struct translation *t, const json_t *node)
{
	static const char *const alike[] = { "length", "abs", NULL },
				 *const nows[] = { "now", "transaction_timestamp", "statement_timestamp",
					 "clock_timestamp", NULL },
				 *const uuids[] = { "gen_random_uuid", "uuid_generate_v4", NULL },
				 *const cases[] = { "upper", "lower", NULL };
	const json_t *names = json_object_get(node, "funcname"), *args = json_object_get(node, "args");
	const char *name = last_name(names, false);

	if (t->use == EXPR_DEFAULT && json_array_size(args) == 0 && last_name(names, true) != NULL &&
	    is_one_of(last_name(names, true), uuids))
		return arena_strdup(t->arena, RANDOM_UUID);
	if (name == NULL || json_array_size(args) > LIST_MAX)
		return NULL;
	if (json_array_size(args) == 0)
		return is_one_of(name, nows) ? translate_now(t) : NULL;
	if (strcmp(name, "timezone") == 0)
		return is_utc(json_array_get(args, 0)) ? translate(t, json_array_get(args, 1)) : NULL;
	if (strcmp(name, "concat") == 0)
		return translate_concat(t, args);
	if (strcmp(name, "char_length") == 0 || strcmp(name, "character_length") == 0)
		name = "length";
	/* SQLite knows the cases of ASCII only, which no index minds. */
	if (!is_one_of(name, alike) && !(t->use == EXPR_INDEX && is_one_of(name, cases)))
		return NULL;
	return translate_list(t, args, arena_printf(t->arena, "%s(", name), ", ", ")");
}

static char *
translate_current(struct translation *t, const json_t *node)
{
	const char *op = json_string_value(json_object_get(node, "op"));

	if (op == NULL)
		return NULL;
	if (strncmp(op, "SVFOP_CURRENT_TIMESTAMP", 23) == 0 || strncmp(op, "SVFOP_LOCALTIMESTAMP", 20) == 0)
		return translate_now(t);
	if (t->use != EXPR_DEFAULT)
		return NULL;
	if (strcmp(op, "SVFOP_CURRENT_DATE") == 0)
		return arena_strdup(t->arena, "current_date");
	if (strncmp(op, "SVFOP_CURRENT_TIME", 18) == 0 || strncmp(op, "SVFOP_LOCALTIME", 15) == 0)
		return arena_strdup(t->arena, "current_time");
	return NULL;
}

static char *
translate_coalesce(struct translation *t, const json_t *node)
{
	return translate_list(t, json_object_get(node, "args"), "coalesce(", ", ", ")");
}

static char *
translate(struct translation *t, const json_t *node)
{
	static const struct {
		const char *kind;
		char *(*fn)(struct translation *t, const json_t *node);
	} kinds[] = {
		{ "A_Const", translate_constant },
		{ "TypeCast", translate_cast },
		{ "ColumnRef", translate_column },
		{ "A_Expr", translate_operator },
		{ "BoolExpr", translate_logic },
		{ "NullTest", translate_null_test },
		{ "FuncCall", translate_function },
		{ "SQLValueFunction", translate_current },
		{ "CoalesceExpr", translate_coalesce },
	};
	char *out = NULL;

	if (node == NULL || t->depth >= DEPTH_MAX)
		return NULL;
	t->depth++;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		const json_t *inner = json_object_get(node, kinds[i].kind);

		if (inner != NULL) {
			out = kinds[i].fn(t, inner);
			break;
		}
	}
	t->depth--;
	return out;
}

/* The one expression of a parsed "SELECT expression"; NULL: it is something else. */
static const json_t *
selected(const json_t *tree)
{
	const json_t *stmts = json_object_get(tree, "stmts");
	const json_t *select =
	    json_object_get(json_object_get(json_array_get(stmts, 0), "stmt"), "SelectStmt");
	const json_t *targets = json_object_get(select, "targetList");
	const json_t *target = json_object_get(json_array_get(targets, 0), "ResTarget");

	if (json_array_size(stmts) != 1 || json_array_size(targets) != 1 ||
	    json_object_get(select, "fromClause") != NULL)
		return NULL;
	return json_object_get(target, "val");
}

char *
sqlite_expression(struct arena *a, const char *expression, enum expr_use use, const char *type)
{
	struct translation t = { .arena = a, .use = use, .type = type };
	PgQueryParseResult parsed;
	const json_t *node;
	json_t *tree;
	char *out = NULL;

	t.source = arena_printf(a, "SELECT %s", expression);
	parsed = pg_query_parse(t.source);
	tree = parsed.error == NULL ? json_loads(parsed.parse_tree, 0, NULL) : NULL;
	node = selected(tree);
	/* A check that is nothing but a boolean column: see translate_logic(). */
	if (node != NULL && (use != EXPR_CHECK || type != NULL || json_object_get(node, "ColumnRef") == NULL))
		out = translate(&t, node);
	json_decref(tree);
	pg_query_free_parse_result(parsed);
	return out;
}

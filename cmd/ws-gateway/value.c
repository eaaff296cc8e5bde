/* What can be said of a client's value without Postgres. */
#include "value.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_NUMBER 512 /* longer ones are left to Postgres */

bool
value_is_text(const void *p, size_t n)
{
	json_t *text;

	if (n == 0)
		return true;
	text = json_stringn(p, n); /* it takes UTF-8 only */
	json_decref(text);
	return text != NULL && memchr(p, '\0', n) == NULL;
}

/* intN: a sign, digits, white space around. */
static const char *
integer_fault(const char *s, int64_t least, int64_t most)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(s, &end, 10);
	if (end == s)
		return "22P02";
	while (isspace((unsigned char)*end))
		end++;
	if (*end != '\0')
		return "22P02";
	return errno == ERANGE || v < least || v > most ? "22003" : NULL;
}

/* floatN: what C's strtod takes; its range is left to Postgres. */
static const char *
float_fault(const char *s)
{
	char *end;

	strtod(s, &end);
	if (end == s)
		return "22P02";
	while (isspace((unsigned char)*end))
		end++;
	return *end != '\0' ? "22P02" : NULL;
}

/* uuid: 32 hexadecimal digits, whatever hyphens and braces Postgres allows among them. */
static const char *
uuid_fault(const char *s)
{
	unsigned digits = 0;

	for (; *s != '\0'; s++) {
		if (isxdigit((unsigned char)*s))
			digits++;
		else if (*s != '-' && *s != '{' && *s != '}')
			return "22P02";
	}
	return digits == 32 ? NULL : "22P02";
}

const char *
value_fault(const char *type, const void *p, size_t n)
{
	char s[LONGEST_NUMBER + 1];

	if (n > LONGEST_NUMBER)
		return NULL;
	if (n > 0)
		memcpy(s, p, n);
	s[n] = '\0';
	if (strcmp(type, "int2") == 0)
		return integer_fault(s, INT16_MIN, INT16_MAX);
	if (strcmp(type, "int4") == 0)
		return integer_fault(s, INT32_MIN, INT32_MAX);
	if (strcmp(type, "int8") == 0)
		return integer_fault(s, INT64_MIN, INT64_MAX);
	if (strcmp(type, "float4") == 0 || strcmp(type, "float8") == 0)
		return float_fault(s);
	if (strcmp(type, "uuid") == 0)
		return uuid_fault(s);
	return NULL;
}

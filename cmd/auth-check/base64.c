/* Base64. */
#include "base64.h"

#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

static int
sextet(char c)
{
	return c >= 'A' && c <= 'Z'   ? c - 'A'
	       : c >= 'a' && c <= 'z' ? c - 'a' + 26
	       : c >= '0' && c <= '9' ? c - '0' + 52
	       : c == '-'	      ? 62
	       : c == '_'	      ? 63
				      : -1;
}

bool
base64url_decode(const char *text, size_t n, uint8_t *out, size_t *out_n)
{
	uint32_t bits = 0;
	size_t made = 0;

	if (n % 4 == 1)
		return false;
	for (size_t i = 0; i < n; i++) {
		int v = sextet(text[i]);

		if (v < 0)
			return false;
		bits = bits << 6 | (uint32_t)v;
		if (i % 4 != 0)
			out[made++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
	}
	*out_n = made;
	/* What the last character says beyond the last byte is nothing. */
	return n % 4 == 0 || (bits & ((n % 4 == 2 ? 1u << 4 : 1u << 2) - 1)) == 0;
}

bool
base64_decode(const char *text, size_t n, uint8_t *out, size_t *out_n)
{
	char *url = xmalloc(n + 1);
	size_t m = 0;
	bool ok;

	for (size_t i = 0; i < n; i++) {
		if (strchr(" \t\r\n", text[i]) != NULL && text[i] != '\0')
			continue;
		url[m++] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
	}
	while (m > 0 && url[m - 1] == '=')
		m--;
	ok = base64url_decode(url, m, out, out_n);
	free(url);
	return ok;
}

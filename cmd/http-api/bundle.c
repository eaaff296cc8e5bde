/*
 * The ZIP of migrations: for each version a migration.sql, which a person reads, and a metadata.json, which a
 * generator reads. That one checks for exactly these keys and this protocol version.
 */
#include "bundle.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "satellite.pb-c.h"
#include "xalloc.h"

#define PROTOCOL_VERSION "Electric.Satellite.v1_4"

size_t
bundle_skip(Migration *const *migrations, size_t n, const char *version)
{
	if (version == NULL || version[0] == '\0')
		return 0;
	for (size_t i = 0; i < n; i++)
		if (strcmp(migrations[i]->version, version) == 0)
			return i + 1;
	return n;
}

/* The statements, one and an empty line between them. */
static bool
sql_of(const Migration *migration, struct buf *sql)
{
	for (size_t i = 0; i < migration->n_ops; i++) {
		SatOpMigrate *op =
		    sat_op_migrate__unpack(NULL, migration->ops[i].len, migration->ops[i].data);

		if (op == NULL)
			return false;
		for (size_t j = 0; j < op->n_stmts; j++) {
			if (sql->len > 0)
				buf_puts(sql, "\n\n");
			buf_puts(sql, op->stmts[j]->sql);
		}
		sat_op_migrate__free_unpacked(op, NULL);
	}
	return true;
}

static bool
metadata_of(const Migration *migration, struct buf *json)
{
	json_t *ops = json_array(), *root;
	char *text;

	for (size_t i = 0; i < migration->n_ops; i++) {
		size_t n = migration->ops[i].len;
		char *base64 = xmalloc((n + 2) / 3 * 4 + 1);

		EVP_EncodeBlock((unsigned char *)base64, migration->ops[i].data, (int)n);
		json_array_append_new(ops, json_string(base64));
		free(base64);
	}
	root = json_pack("{s:s, s:o, s:s, s:s}", "format", "SatOpMigrate", "ops", ops, "protocol_version",
	    PROTOCOL_VERSION, "version", migration->version);
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (text == NULL)
		return false;
	buf_puts(json, text);
	free(text);
	return true;
}

/* Adds one entry; the bytes are copied. */
static bool
add(zip_t *zip, const Migration *migration, const char *file, const struct buf *body)
{
	char *name = xasprintf("%s/%s", migration->version, file);
	char *copy = body->len > 0 ? xmemdup0(buf_data(body), body->len)
				   : NULL; /* libzip does not free an empty one */
	zip_source_t *source = zip_source_buffer(zip, copy, body->len, 1);
	zip_int64_t index = -1;

	if (source == NULL)
		free(copy);
	else if ((index = zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8)) < 0)
		zip_source_free(source);
	if (index >= 0)
		zip_file_set_mtime(zip, (zip_uint64_t)index, (time_t)(migration->timestamp / 1000), 0);
	free(name);
	return index >= 0;
}

static bool
add_migration(zip_t *zip, const Migration *migration)
{
	struct buf sql = { 0 }, json = { 0 };
	bool ok = sql_of(migration, &sql) && metadata_of(migration, &json) &&
		  add(zip, migration, "migration.sql", &sql) && add(zip, migration, "metadata.json", &json);

	buf_clear(&sql);
	buf_clear(&json);
	return ok;
}

/* What the archive has become. */
static bool
read_back(zip_source_t *archive, struct buf *out)
{
	zip_stat_t st;

	if (zip_source_open(archive) != 0)
		return false;
	if (zip_source_stat(archive, &st) == 0 && (st.valid & ZIP_STAT_SIZE)) {
		zip_int64_t n = zip_source_read(archive, buf_room(out, st.size), st.size);

		if (n > 0)
			buf_added(out, (size_t)n);
	}
	zip_source_close(archive);
	return out->len > 0;
}

bool
bundle_make(Migration *const *migrations, size_t n, struct buf *out)
{
	zip_source_t *archive = zip_source_buffer_create(NULL, 0, 0, NULL);
	zip_t *zip = archive != NULL ? zip_open_from_source(archive, ZIP_TRUNCATE, NULL) : NULL;
	bool ok = zip != NULL;

	if (!ok) {
		zip_source_free(archive);
		return false;
	}
	zip_source_keep(archive);
	for (size_t i = 0; ok && i < n; i++)
		ok = add_migration(zip, migrations[i]);
	if (!ok || zip_close(zip) != 0) {
		zip_discard(zip);
		ok = false;
	}
	ok = ok && read_back(archive, out);
	zip_source_free(archive);
	return ok;
}

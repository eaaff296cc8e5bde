/* The file: one LMDB environment, its tables, and group commit. */
#include "store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "exits.h"
#include "log.h"
#include "peer.h"
#include "xalloc.h"

/*
 * Of the file; a newer one is refused, an older one is brought up to date when it is opened to be written.
 * 2: records are stamped in milliseconds. Those of before have seconds, and keep them.
 */
#define FORMAT	   2
#define PROBE	   "probe"
#define PROBE_SIZE (1024 * 1024)

struct waiter {
	void (*fn)(void *data, bool ok);
	void *data;
};

static MDB_env *env;
static MDB_dbi dbis[TABLES];
static MDB_txn *write_txn, *read_txn;
static struct waiter *waiters;
static size_t n_waiters, cap_waiters;
static bool failing, turn_failed, is_read_only;
static bool changed; /* something was put in this turn */
static void (*before_commit)(void), (*after_commit)(bool ok), (*probed)(bool ok);
static struct histogram commits;
static ev_prepare turn_end;
static ev_idle keep_turning; /* a turn with something to commit must not wait for events */

static const char *const table_names[TABLES] = { "meta", "log", "schema", "writes", "accepted", "clients",
	"client_lsn", "parts" };

static void
failed(const char *what, int rc)
{
	if (!failing)
		log_error("log-not-writable", "operation=%s error=%s note=%s", what,
		    log_quote(mdb_strerror(rc)),
		    log_quote("nothing is acknowledged until it is; clients go on reading"));
	failing = true;
	turn_failed = true;
	/* LMDB could not undo: the file must be opened again, which a new process does. */
	if (rc == MDB_PANIC)
		exit(EX_IOERR);
}

static void
run_waiters(bool ok)
{
	struct waiter *run = waiters;
	size_t n = n_waiters;

	waiters = NULL;
	n_waiters = cap_waiters = 0;
	for (size_t i = 0; i < n; i++)
		run[i].fn(run[i].data, ok);
	free(run);
}

/* With its fsync. */
static int
commit(MDB_txn *txn)
{
	struct timespec began, ended;
	int rc;

	clock_gettime(CLOCK_MONOTONIC, &began);
	rc = mdb_txn_commit(txn);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	if (changed)
		histogram_observe(&commits,
		    (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
	return rc;
}

/* The end of a turn: commit, then tell those who wait. */
static void
on_turn_end(struct ev_loop *l, ev_prepare *w, int events)
{
	bool ok;

	(void)l;
	(void)w;
	(void)events;
	if (read_txn != NULL) {
		mdb_txn_abort(read_txn);
		read_txn = NULL;
	}
	if (write_txn != NULL) {
		MDB_txn *txn = write_txn;
		int rc = 0;

		if (changed && before_commit != NULL)
			before_commit();
		write_txn = NULL;
		if (turn_failed)
			mdb_txn_abort(txn);
		else if ((rc = commit(txn)) != 0)
			failed("commit", rc);
		else if (failing && changed) {
			failing = false;
			log_info("log-writable-again", "%s", "");
		}
		if (after_commit != NULL)
			after_commit(!turn_failed);
	}
	ok = !turn_failed;
	turn_failed = changed = false;
	if (n_waiters > 0)
		run_waiters(ok);
	ev_idle_stop(loop(), &keep_turning);
	/* What the waiters wrote, or wait for, is of the next turn. */
	if (write_txn != NULL || n_waiters > 0)
		ev_idle_start(loop(), &keep_turning);
}

static void
on_idle(struct ev_loop *l, ev_idle *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
}

/* The file's format, 0 for a new one; looked at before anything in it is touched. */
static int
read_format(uint64_t *format)
{
	MDB_val key = { strlen("format"), (void *)(uintptr_t) "format" }, value;
	MDB_txn *txn = NULL;
	MDB_dbi meta;
	int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

	*format = 0;
	if (rc != 0)
		return rc;
	rc = mdb_dbi_open(txn, table_names[TABLE_META], 0, &meta);
	if (rc == 0 && (rc = mdb_get(txn, meta, &key, &value)) == 0)
		*format = value.mv_size == 8 ? be64_get(value.mv_data) : UINT64_MAX;
	mdb_txn_abort(txn);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
open_tables(void)
{
	MDB_txn *txn = NULL;
	int rc = mdb_txn_begin(env, NULL, is_read_only ? MDB_RDONLY : 0, &txn);

	for (int i = 0; rc == 0 && i < TABLES; i++)
		rc = mdb_dbi_open(txn, table_names[i], is_read_only ? 0 : MDB_CREATE, &dbis[i]);
	if (rc == 0)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static void
watch_turns(void)
{
	ev_idle_init(&keep_turning, on_idle);
	ev_prepare_init(&turn_end, on_turn_end);
	/* Before the peers' own: acknowledgements leave in the turn that made them true. */
	ev_set_priority(&turn_end, EV_MAXPRI);
	ev_prepare_start(loop(), &turn_end);
	ev_unref(loop());
}

int
store_open(const char *path, uint64_t max_bytes, bool read_only)
{
	uint64_t format;
	int rc;

	is_read_only = read_only;
	if ((rc = mdb_env_create(&env)) != 0 || (rc = mdb_env_set_maxdbs(env, TABLES)) != 0 ||
	    (rc = mdb_env_set_mapsize(env, max_bytes)) != 0 ||
	    (rc = mdb_env_open(env, path,
		 MDB_NOSUBDIR | MDB_NORDAHEAD | MDB_NOTLS | (read_only ? MDB_RDONLY : 0), 0600)) != 0 ||
	    (rc = read_format(&format)) != 0)
		goto fail;
	if (format > FORMAT) {
		log_error("log-too-new",
		    "variable=OFFSET_STORAGE_FILE path=%s format=%" PRIu64 " ours=%d error=%s", path, format,
		    FORMAT, log_quote("a newer log-store has written this file"));
		return EX_CONFIG;
	}
	if ((rc = open_tables()) != 0)
		goto fail;
	if (read_only)
		return 0;
	watch_turns();
	if (format < FORMAT)
		meta_put("format", FORMAT);
	if (format != 0 && format < FORMAT)
		log_info("log-upgraded", "path=%s from=%" PRIu64 " to=%d", path, format, FORMAT);
	return 0;
fail:
	log_error("log-not-opened", "path=%s error=%s", path, log_quote(mdb_strerror(rc)));
	return EX_IOERR;
}

void
store_close(void)
{
	if (env == NULL)
		return;
	if (!is_read_only)
		on_turn_end(loop(), &turn_end, 0);
	if (read_txn != NULL)
		mdb_txn_abort(read_txn);
	mdb_env_close(env);
	env = NULL;
}

MDB_txn *
store_write(void)
{
	int rc;

	if (write_txn == NULL) {
		if ((rc = mdb_txn_begin(env, NULL, 0, &write_txn)) != 0) {
			write_txn = NULL;
			failed("begin", rc);
			return NULL;
		}
		ev_idle_start(loop(), &keep_turning);
	}
	return turn_failed ? NULL : write_txn;
}

MDB_txn *
store_read(void)
{
	int rc;

	if (read_txn == NULL && (rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &read_txn)) != 0) {
		log_error("log-not-readable", "error=%s", log_quote(mdb_strerror(rc)));
		exit(EX_IOERR);
	}
	return read_txn;
}

MDB_txn *
store_latest(void)
{
	return write_txn != NULL && !turn_failed ? write_txn : store_read();
}

void
store_on_commit(void (*before)(void), void (*after)(bool ok))
{
	before_commit = before;
	after_commit = after;
}

MDB_dbi
store_dbi(enum store_table table)
{
	return dbis[table];
}

void
store_after_commit(void (*fn)(void *data, bool ok), void *data)
{
	if (n_waiters == cap_waiters) {
		cap_waiters = cap_waiters != 0 ? cap_waiters * 2 : 64;
		waiters = xrealloc(waiters, cap_waiters * sizeof *waiters);
	}
	waiters[n_waiters++] = (struct waiter){ fn, data };
	if (!ev_is_active(&keep_turning))
		ev_idle_start(loop(), &keep_turning);
}

void
store_change(void)
{
	changed = true;
}

bool
store_put(enum store_table table, MDB_val *key, MDB_val *value, unsigned flags)
{
	MDB_txn *txn = store_write();
	int rc;

	if (txn == NULL)
		return false;
	if ((rc = mdb_put(txn, dbis[table], key, value, flags)) != 0) {
		failed("put", rc);
		return false;
	}
	changed = true;
	return true;
}

/* Room for a record; NULL on failure. */
static uint8_t *
reserve(enum store_table table, MDB_val *key, size_t n, unsigned flags)
{
	MDB_val value = { sizeof(struct record_head) + n, NULL };

	return store_put(table, key, &value, flags | MDB_RESERVE) ? value.mv_data : NULL;
}

/* The message is in place behind the head. */
static void
seal(uint8_t *record, size_t n, uint64_t xid, uint64_t max_xid)
{
	struct record_head head = {
		.xid = xid, .max_xid = max_xid, .stored = (uint64_t)(ev_now(loop()) * 1000)
	};

	memcpy(record, &head, sizeof head);
	head.checksum = XXH3_64bits(record + sizeof head.checksum, sizeof head + n - sizeof head.checksum);
	memcpy(record, &head.checksum, sizeof head.checksum);
}

size_t
store_put_record(enum store_table table, MDB_val *key, const ProtobufCMessage *message, uint64_t xid,
    uint64_t max_xid, unsigned flags)
{
	size_t n = protobuf_c_message_get_packed_size(message);
	uint8_t *record = reserve(table, key, n, flags);

	if (record == NULL)
		return 0;
	protobuf_c_message_pack(message, record + sizeof(struct record_head));
	seal(record, n, xid, max_xid);
	return n;
}

size_t
store_put_packed(enum store_table table, MDB_val *key, const MDB_val pieces[2], uint64_t xid,
    uint64_t max_xid, unsigned flags)
{
	size_t n = pieces[0].mv_size + pieces[1].mv_size;
	uint8_t *record = reserve(table, key, n, flags), *message;

	if (record == NULL)
		return 0;
	message = record + sizeof(struct record_head);
	memcpy(message, pieces[0].mv_data, pieces[0].mv_size);
	memcpy(message + pieces[0].mv_size, pieces[1].mv_data, pieces[1].mv_size);
	seal(record, n, xid, max_xid);
	return n;
}

uint64_t
record_stored(const struct record_head *head)
{
	const uint64_t year_5138_in_seconds = UINT64_C(100000000000); /* or 1973, in milliseconds */

	return head->stored < year_5138_in_seconds ? head->stored * 1000 : head->stored;
}

bool
record_open(const MDB_val *record, struct record_head *head, MDB_val *message)
{
	const uint8_t *p = record->mv_data;

	if (record->mv_size < sizeof *head)
		return false;
	memcpy(head, p, sizeof *head);
	message->mv_data = (uint8_t *)(uintptr_t)p + sizeof *head;
	message->mv_size = record->mv_size - sizeof *head;
	return head->checksum ==
	       XXH3_64bits(p + sizeof head->checksum, record->mv_size - sizeof head->checksum);
}

static MDB_val
text_val(const char *s)
{
	return (MDB_val){ strlen(s), (void *)(uintptr_t)s };
}

uint64_t
meta_get(const char *name)
{
	MDB_val key = text_val(name), value;

	if (mdb_get(store_latest(), dbis[TABLE_META], &key, &value) != 0 || value.mv_size != 8)
		return 0;
	return be64_get(value.mv_data);
}

void
meta_put(const char *name, uint64_t v)
{
	uint8_t bytes[8];
	MDB_val key = text_val(name), value = { sizeof bytes, bytes };

	be64_set(bytes, v);
	store_put(TABLE_META, &key, &value, 0);
}

void
meta_get_text(const char *name, char *out, size_t size)
{
	MDB_val key = text_val(name), value;
	size_t n = 0;

	if (mdb_get(store_latest(), dbis[TABLE_META], &key, &value) == 0) {
		n = value.mv_size < size - 1 ? value.mv_size : size - 1;
		memcpy(out, value.mv_data, n);
	}
	out[n] = '\0';
}

void
meta_put_text(const char *name, const char *text)
{
	MDB_val key = text_val(name), value = text_val(text);

	store_put(TABLE_META, &key, &value, 0);
}

uint64_t
store_bytes(void)
{
	MDB_envinfo info;
	MDB_stat stat;

	mdb_env_info(env, &info);
	mdb_env_stat(env, &stat);
	return (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
}

const struct histogram *
store_commits(void)
{
	return &commits;
}

static void
on_probed(void *data, bool ok)
{
	MDB_val key = text_val(PROBE);

	(void)data;
	if (ok && store_write() != NULL)
		mdb_del(store_write(), dbis[TABLE_META], &key, NULL);
	probed(ok);
}

void
store_probe(void (*fn)(bool ok))
{
	MDB_val key = text_val(PROBE), value = { PROBE_SIZE, NULL };
	MDB_txn *txn = store_write();
	int rc;

	probed = fn;
	store_after_commit(on_probed, NULL);
	if (txn == NULL)
		return;
	rc = mdb_put(txn, dbis[TABLE_META], &key, &value, MDB_RESERVE);
	if (rc != 0)
		failed("probe", rc);
	else
		memset(value.mv_data, 0, value.mv_size);
}

bool
store_failing(void)
{
	return failing;
}

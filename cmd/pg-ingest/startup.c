/* From nothing to streaming. */
#include "startup.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "catalog.h"
#include "fold.h"
#include "history.h"
#include "log.h"
#include "pg.h"
#include "position.h"
#include "service.h"
#include "sink.h"
#include "stream.h"
#include "xalloc.h"

#define APPLICATION  "leyden pg-ingest"
#define FIRST_PAUSE  0.1 /* seconds; doubles with each failure */
#define LONGEST	     5.0
#define SLOT_PAUSE   0.25 /* seconds between looks at a slot that is in use */
#define SLOT_OTHER   300  /* looks until it must be somebody else's: Postgres ends the dead after a minute */
#define SLOT_SLOW    5.0  /* seconds until it is said that the slot is waited for */
#define INSTALL_LOCK "4846791580151137091" /* of nobody else: the first bytes of "Ley" and a number */
#define IN_USE	     "55006"
#define NEWER	     "LE004" /* of what is installed in Postgres */

extern const char schema_sql[];

static struct pg pg;
static ev_timer retry, slow;
static double pause_next = FIRST_PAUSE;
static char last_why[256];

static const char *slot;
static bool temporary;
static unsigned instance, instances;
static char temporary_slot[48];

static char *database;
static uint64_t system_id, next_xid, start_lsn, slot_lsn, wal_lsn;
static uint32_t timeline;
static bool has_slot, new_life;
static bool wants_log;		 /* ready for OpenLog */
static bool asked_log;		 /* OpenLog or StartLife is under way */
static unsigned asked, answered; /* how many of them: an answer to an earlier connection's is passed over */
static unsigned looks;		 /* at a slot in use */
static char application[64];
static void (*after_pause)(void);

static void ask_slot(void);
static void open_log(void);
static void drop_slot(void);
static void start_replication(void);

// ---- losing and trying again

static void
on_retry(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	if (pg.conn == NULL)
		pg_open(&pg);
	else if (after_pause != NULL)
		after_pause();
}

static void
try_later(double seconds)
{
	ev_timer_stop(loop(), &retry);
	ev_timer_set(&retry, seconds, 0.);
	ev_timer_start(loop(), &retry);
}

static void
begin_anew(void)
{
	stream_stop();
	ev_timer_stop(loop(), &slow);
	if (!temporary && sink_is_up())
		sink_ask(FRAME__BODY_CLOSE_LOG, &(CloseLog)CLOSE_LOG__INIT);
	wants_log = asked_log = new_life = false;
	looks = 0;
	try_later(pause_next);
	pause_next = pause_next * 2 > LONGEST ? LONGEST : pause_next * 2;
}

static void
on_lost(struct pg *p, const char *why)
{
	(void)p;
	/* The same again and again is said once. */
	if (strncmp(why, last_why, sizeof last_why - 1) != 0)
		log_warning("postgres-waited-for", "error=%s", log_quote(why));
	else
		log_debug("postgres-waited-for", "error=%s", log_quote(why));
	strncpy(last_why, why, sizeof last_why - 1);
	begin_anew();
}

/* What was asked failed: closes, and tries again from the beginning. */
static bool
failed(const PGresult *r, const char *attempt)
{
	if (!pg_failed(r, attempt))
		return false;
	pg_close(&pg);
	begin_anew();
	return true;
}

static void
lose_postgres(const char *why)
{
	log_error("cannot-go-on", "error=%s", log_quote(why));
	pg_close(&pg);
	begin_anew();
}

// ---- the server and the schema

static void
on_installed(struct pg *p, PGresult *r)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	(void)p;
	if (state != NULL && strcmp(state, NEWER) == 0)
		service_config_error("DATABASE_URL", "%s", PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
	if (failed(r, "install-schema"))
		return;
	ask_slot();
}

static void
install_schema(void)
{
	char *own =
	    temporary ? xstrdup("") : xasprintf("SELECT electric.set_instance(%u, %u);", instance, instances);
	char *sql = xasprintf(
	    "BEGIN; SELECT pg_advisory_xact_lock(" INSTALL_LOCK ");\n%s\n%s COMMIT", schema_sql, own);

	pg_ask(&pg, sql, on_installed);
	free(sql);
	free(own);
}

static void
on_server(struct pg *p, PGresult *r)
{
	(void)p;
	if (failed(r, "read-settings"))
		return;
	if (strcmp(PQgetvalue(r, 0, 0), "logical") != 0)
		service_config_error("DATABASE_URL",
		    "the server's wal_level is \"%s\"; it must be logical (set it in postgresql.conf and "
		    "restart Postgres)",
		    PQgetvalue(r, 0, 0));
	if (atoi(PQgetvalue(r, 0, 1)) < 140000)
		service_config_error("DATABASE_URL", "the server is older than Postgres 14");
	free(database);
	database = xstrdup(PQgetvalue(r, 0, 2));
	next_xid = strtoull(PQgetvalue(r, 0, 3), NULL, 10);
	last_why[0] = '\0';
	log_info("connected", "database=%s version=%d", log_quote(database), PQserverVersion(pg.conn));
	install_schema();
}

static void
on_opened(struct pg *p)
{
	pg_ask(p,
	    "SELECT current_setting('wal_level'), current_setting('server_version_num'), current_database(),"
	    " pg_snapshot_xmax(pg_current_snapshot())",
	    on_server);
}

// ---- what is known of the tables

static void
on_history(struct pg *p, PGresult *r)
{
	(void)p;
	if (failed(r, "read-history"))
		return;
	history_load(r);
	if (new_life || temporary)
		catalog_know_all();
	if (temporary) {
		start_replication();
		return;
	}
	wants_log = true;
	open_log();
}

static void
ask_history(void)
{
	pg_ask(&pg, HISTORY, on_history);
}

// ---- a slot that is in use

/* A command that names the slot between the two texts. */
static void
ask_of_slot(const char *before, const char *after, pg_answer_fn *answer)
{
	struct buf sql = { 0 };

	buf_puts(&sql, before);
	pg_put_literal(&sql, slot);
	buf_puts(&sql, after);
	pg_ask(&pg, buf_cstr(&sql), answer);
	buf_clear(&sql);
}

static void
on_ended(struct pg *p, PGresult *r)
{
	(void)p;
	if (failed(r, "end-predecessor"))
		return;
	try_later(SLOT_PAUSE);
}

/*
 * By now our own predecessor, killed a moment ago, may still have a backend: that one is ended, since no
 * other process has our name. Another's slot is waited for; two that took it from each other would begin the
 * log anew each time.
 */
static void
wait_for_slot(void (*again)(void))
{
	char *ours = xasprintf(" AND a.application_name = '%s'", application);

	after_pause = again;
	if (looks++ == 0)
		log_warning("slot-in-use", "slot=%s note=%s", slot, log_quote("waiting until it is free"));
	else if (looks == SLOT_OTHER)
		log_error("slot-in-use", "slot=%s note=%s", slot,
		    log_quote("another service seems to use it; give each its own with --slot"));
	ask_of_slot("SELECT pg_terminate_backend(a.pid) FROM pg_replication_slots AS s"
		    " JOIN pg_stat_activity AS a ON a.pid = s.active_pid WHERE s.slot_name = ",
	    ours, on_ended);
	free(ours);
}

static bool
is_in_use(const PGresult *r)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

	return state != NULL && strcmp(state, IN_USE) == 0;
}

// ---- making the slot

static void
on_created(struct pg *p, PGresult *r)
{
	(void)p;
	ev_timer_stop(loop(), &slow);
	if (failed(r, "create-slot"))
		return;
	if (!pg_lsn_parse(PQgetvalue(r, 0, 1), &start_lsn)) {
		lose_postgres("Postgres told no position of the new slot");
		return;
	}
	has_slot = true;
	log_info("slot-created", "slot=%s lsn=%s", slot, PQgetvalue(r, 0, 1));
	ask_history();
}

static void
on_slow(struct ev_loop *l, ev_timer *w, int events)
{
	(void)l;
	(void)w;
	(void)events;
	log_warning("slot-waited-for", "slot=%s note=%s", slot,
	    log_quote("Postgres makes it once the transactions that are open now have ended"));
}

static void
create_slot(void)
{
	struct buf sql = { 0 };

	buf_puts(&sql, "CREATE_REPLICATION_SLOT ");
	pg_put_identifier(&sql, slot);
	buf_printf(&sql, " %sLOGICAL pgoutput NOEXPORT_SNAPSHOT", temporary ? "TEMPORARY " : "");
	ev_timer_set(&slow, SLOT_SLOW, 0.);
	ev_timer_start(loop(), &slow);
	pg_ask(&pg, buf_cstr(&sql), on_created);
	buf_clear(&sql);
}

static void
on_dropped(struct pg *p, PGresult *r)
{
	(void)p;
	if (is_in_use(r)) {
		wait_for_slot(drop_slot);
		return;
	}
	if (failed(r, "drop-slot"))
		return;
	has_slot = false;
	create_slot();
}

static void
drop_slot(void)
{
	ask_of_slot("SELECT pg_drop_replication_slot(", ")", on_dropped);
}

// ---- agreeing with log-store

static void
on_slot(struct pg *p, PGresult *r)
{
	(void)p;
	if (failed(r, "read-slot"))
		return;
	slot_lsn = 0; /* which begins the log anew */
	system_id = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
	pg_lsn_parse(PQgetvalue(r, 0, 1), &wal_lsn);
	has_slot = !PQgetisnull(r, 0, 6);
	timeline = (uint32_t)strtoul(PQgetvalue(r, 0, 7), NULL, 16);
	if (has_slot &&
	    (strcmp(PQgetvalue(r, 0, 3), database) != 0 || strcmp(PQgetvalue(r, 0, 4), "pgoutput") != 0))
		service_config_error("--slot",
		    "the replication slot \"%s\" is of database \"%s\" and plugin \"%s\"", slot,
		    PQgetvalue(r, 0, 3), PQgetvalue(r, 0, 4));
	if (has_slot && strcmp(PQgetvalue(r, 0, 5), "lost") == 0)
		log_error("slot-lost", "slot=%s note=%s", slot,
		    log_quote("Postgres has removed WAL that it needed (max_slot_wal_keep_size); the log "
			      "begins anew"));
	else if (has_slot && !stream_overflowed())
		pg_lsn_parse(PQgetvalue(r, 0, 2), &slot_lsn);
	if (temporary)
		create_slot();
	else
		ask_history();
}

static void
ask_slot(void)
{
	ask_of_slot("SELECT c.system_identifier, pg_current_wal_lsn(), s.confirmed_flush_lsn,"
		    " s.database, s.plugin, s.wal_status, s.slot_name,"
		    " left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system() AS c"
		    " LEFT JOIN pg_replication_slots AS s ON s.slot_name = ",
	    "", on_slot);
}

static void
open_log(void)
{
	OpenLog open = OPEN_LOG__INIT;
	StartLife start = START_LIFE__INIT;
	struct arena a = { 0 };

	if (!wants_log || asked_log || !sink_is_up() || !sink_settled())
		return;
	asked_log = true;
	asked++;
	if (new_life) {
		start.instance = instance;
		start.system_id = system_id;
		start.timeline = timeline;
		start.slot_lsn = start_lsn;
		start.database = database;
		start.n_migrations = catalog_migrations(&a, &start.migrations);
		sink_ask(FRAME__BODY_START_LIFE, &start);
		arena_clear(&a);
		return;
	}
	open.instance = instance;
	open.system_id = system_id;
	open.timeline = timeline;
	open.slot_lsn = slot_lsn;
	open.wal_lsn = wal_lsn;
	open.database = database;
	sink_ask(FRAME__BODY_OPEN_LOG, &open);
}

static void
on_log_opened(const LogOpened *opened)
{
	if (++answered != asked || !asked_log)
		return;
	asked_log = wants_log = false;
	if (opened->new_life) {
		if (new_life) {
			lose_postgres("log-store did not begin a new life");
			return;
		}
		new_life = true;
		if (has_slot)
			drop_slot();
		else
			create_slot();
		return;
	}
	start_lsn = opened->commit_lsn;
	for (size_t i = 0; !new_life && i < opened->n_migrations; i++)
		if (!catalog_know(opened->migrations[i]->version))
			log_warning("migration-unknown", "version=%s note=%s", opened->migrations[i]->version,
			    log_quote("the log has it, electric.ddl_commands does not"));
	start_replication();
}

static void
on_log_up(void)
{
	asked = answered = 0;
	open_log();
}

static void
on_log_down(void)
{
	asked = answered = 0;
	if (asked_log || !wants_log) {
		/* What was in flight is lost with it: the stream begins again where the log ends. */
		pg_close(&pg);
		begin_anew();
	}
}

static void
on_room(void)
{
	stream_room();
	open_log();
}

// ---- streaming

static void
on_started(struct pg *p, PGresult *r)
{
	char lsn[POSITION_TEXT], details[128];

	if (is_in_use(r)) {
		wait_for_slot(start_replication);
		return;
	}
	if (failed(r, "start-replication"))
		return;
	pause_next = FIRST_PAUSE;
	looks = 0;
	pg_lsn_format(lsn, start_lsn);
	snprintf(details, sizeof details, "slot=%s lsn=%s", slot, lsn);
	log_info("streaming", "%s", details);
	stream_start(p, instance, start_lsn, next_xid);
	service_ready(details);
}

static void
start_replication(void)
{
	struct buf sql = { 0 };
	char lsn[POSITION_TEXT];

	pg_lsn_format(lsn, start_lsn);
	buf_puts(&sql, "START_REPLICATION SLOT ");
	pg_put_identifier(&sql, slot);
	buf_printf(&sql,
	    " LOGICAL %s (proto_version '1', publication_names 'electric_publication', messages 'true')",
	    lsn);
	pg_ask(&pg, buf_cstr(&sql), on_started);
	buf_clear(&sql);
}

/* One name for all processes that follow each other here: only one can have the control socket at a time. */
static void
name_application(void)
{
	char host[256] = "";
	char *place;

	gethostname(host, sizeof host - 1);
	place = xasprintf("%s %s %u %s", host, service_run_dir(), instance, temporary ? slot : "");
	snprintf(application, sizeof application, APPLICATION " %016" PRIx64,
	    (uint64_t)XXH3_64bits(place, strlen(place)));
	free(place);
}

void
startup_open(const char *url, const char *slot_name, unsigned number, unsigned count)
{
	static const struct pg_hooks pg_hooks = { on_opened, on_lost, stream_pump };
	static const struct sink_hooks sink_hooks = { on_log_up, on_log_down, on_log_opened, stream_stored,
		on_room };

	instance = number;
	instances = count;
	if (count > 1)
		fold_for_several();
	temporary = slot_name == NULL;
	slot = slot_name;
	if (temporary) {
		snprintf(temporary_slot, sizeof temporary_slot, "leyden_stdout_%ld", (long)getpid());
		slot = temporary_slot;
	}
	ev_init(&retry, on_retry);
	ev_init(&slow, on_slow);
	name_application();
	pg_init(&pg, url, application, true, &pg_hooks, NULL);
	sink_open(&sink_hooks, temporary);
	pg_open(&pg);
}

void
startup_close(void)
{
	ev_timer_stop(loop(), &retry);
	pg_close(&pg);
}

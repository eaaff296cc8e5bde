/*
 * Chaos: writers on both sides while tools, Postgres and sockets are killed; at the end all agree.
 *
 * Every row has one writer, and every writer counts its transactions from 1. So whoever sees them can tell at
 * once whether one is missing, came twice, came out of order, or came in halves:
 *   - a writer in Postgres: a row in pg_items (some transactions: EXTRA more), its number in pg_heads, and a
 * ticket, which is that Postgres' own order of the commits;
 *   - a client: a row in cl_items, its number in cl_heads. A trigger in Postgres notes in `audit` each time
 * that one is applied.
 */
#ifndef TESTS_CHAOS_H
#define TESTS_CHAOS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WRITERS	    2
#define CLIENTS	    3
#define EXTRA	    30 /* rows more in every EXTRA_EVERYth transaction */
#define EXTRA_EVERY 20

struct test_service;

/* 1, or 2: writer w writes in the Postgres w % chaos_instances. */
extern unsigned chaos_instances;

/* From the seed: 0 to n - 1. */
unsigned chaos_random(unsigned n);

/* ---- writer.c */

/* Starts the writer number w in a process of its own; it goes on until writer_stop(). */
pid_t writer_start(const struct test_service *s, unsigned w);
void writer_stop(pid_t pid);

/* ---- follower.c: clients, which check what they see as they see it; what is wrong ends the program */

/* The clients 0 to CLIENTS - 1 write; any other number is a newcomer's, which only follows. */
struct follower;
struct follower *follower_new(unsigned number);
void follower_free(struct follower *f);
/* What it has to do now: connect again, write the next transaction while `writing`. */
void follower_tick(struct follower *f, unsigned port, bool writing);
/* Its socket is cut. */
void follower_cut(struct follower *f);
uint32_t follower_written(const struct follower *f);
/* It has seen so many of each writer's and each client's transactions, and all echoes of its own. */
bool follower_agrees(
    const struct follower *f, const uint32_t writers[WRITERS], const uint32_t clients[CLIENTS]);
/* One line about it. */
void follower_print(const struct follower *f);
/* Deliveries of initial rows that followers have checked, and how often they were connected. */
extern unsigned long follower_deliveries, follower_connections;

#endif

// GET /api/migrations: what it answers, byte for byte, and what the published package's own reader makes of it: a client
// that bundles its migrations has the same tables, indexes and triggers as one that got them live.

import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import Database from 'better-sqlite3'
import decompress from 'decompress'
import { buildMigrations, loadMigrations } from './node_modules/electric-sql/dist/cli/migrations/builder.js'
import { data as base } from './node_modules/electric-sql/dist/migrators/schema.js'
import { converge, createTables, electrifyTables, id, syncedClient } from './support/app.mjs'
import { scenario } from './support/world.mjs'

const schemaOf = `SELECT type, name, sql FROM sqlite_master
	WHERE name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_electric%' ESCAPE '\\' AND tbl_name NOT LIKE '\\_electric%' ESCAPE '\\' ORDER BY type, name`

const tables = { parts: { fields: ['b', 'a', 'note', 'n'] }, lines: { fields: ['id', 'a', 'b', 'up'] } }

scenario('migrations are bundled', async (world, step) => {
	const { database, service } = world
	const get = async (query, path = '/api/migrations') => {
		const answer = await fetch(`http://${service.http}${path}${query}`)
		return { status: answer.status, type: answer.headers.get('content-type'), body: Buffer.from(await answer.arrayBuffer()) }
	}
	const text = ({ status, type, body }) => [status, type, body.toString()]

	await step('nothing yet', async () => {
		assert.deepEqual(text(await get('?dialect=sqlite')), [204, null, ''])
	})

	await database.exec(`
		CREATE TABLE parts (b int, a text, PRIMARY KEY (a, b));
		CREATE TABLE lines (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), a text, b int, FOREIGN KEY (a, b) REFERENCES parts ON DELETE CASCADE);
		CREATE INDEX lines_a ON lines (a DESC) WHERE a <> '';
		BEGIN; SELECT electric.migration_version('20230901');
		CALL electric.electrify('parts'); CALL electric.electrify('lines'); ALTER TABLE parts ADD COLUMN note text DEFAULT 'it''s'; COMMIT;`)
	await database.exec(`BEGIN; SELECT electric.migration_version('20230902'); CREATE UNIQUE INDEX parts_b ON parts (b, a); COMMIT;`)
	await database.exec(`BEGIN; SELECT electric.migration_version('20230903'); ALTER TABLE parts ADD COLUMN n int NOT NULL DEFAULT 5,
		ALTER COLUMN note SET DEFAULT 'x'; ALTER TABLE lines ADD COLUMN up uuid REFERENCES lines; DROP INDEX lines_a; COMMIT;`)
	await database.exec(`BEGIN; SELECT electric.migration_version('20230904'); ALTER TABLE lines ALTER b SET DEFAULT 1; COMMIT;`)
	const live = await world.client('live', { tables })
	await live.waitFor("SELECT name FROM pragma_table_info('lines') WHERE name = 'up'", [{ name: 'up' }])
	await live.waitFor("SELECT count(*) AS n FROM sqlite_master WHERE name = 'lines_a'", [{ n: 0 }])

	await step('parameters', async () => {
		const json = 'application/json; charset=utf-8'
		assert.deepEqual(text(await get('')), [403, json, `{"error":"missing required parameter 'dialect'"}`])
		assert.deepEqual(text(await get('?dialect=mysql&version=20230901')), [403, json, '{"error":"unsupported dialect \\"mysql\\""}'])
		assert.deepEqual(text(await get('?dialect=sqlite&version=20230904')), [204, null, ''])
		assert.deepEqual(text(await get('?dialect=sqlite&version=nowhere')), [204, null, ''])
		assert.equal((await get('?dialect=sqlite', '/api/migrations/more')).status, 404)
		const names = async (query) => (await decompress((await get(query)).body)).map((file) => file.path)
		const all = ['20230901', '20230902', '20230903', '20230904'].flatMap((v) => [`${v}/migration.sql`, `${v}/metadata.json`])
		assert.deepEqual(await names('?dialect=sqlite'), all)
		assert.deepEqual(await names('?dialect=sqlite&version='), all)
		assert.deepEqual(await names('?dialect=sqlite&version=20230902'), all.slice(4))
	})

	await step('contents', async () => {
		const answer = await get('?dialect=sqlite')
		assert.deepEqual([answer.status, answer.type], [200, 'application/zip'])
		const files = Object.fromEntries((await decompress(answer.body)).map((file) => [file.path, file.data.toString()]))
		assert.equal(files['20230901/migration.sql'], [
			'CREATE TABLE "parts" (\n  "b" INTEGER NOT NULL,\n  "a" TEXT NOT NULL,\n  CONSTRAINT "parts_pkey" PRIMARY KEY ("a", "b")\n) WITHOUT ROWID;\n',
			`CREATE TABLE "lines" (\n  "id" BLOB DEFAULT ${"(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))))"} NOT NULL,\n  "a" TEXT,\n  "b" INTEGER,\n` +
				'  CONSTRAINT "lines_a_b_fkey" FOREIGN KEY ("a", "b") REFERENCES "parts" ("a", "b") ON DELETE CASCADE,\n  CONSTRAINT "lines_pkey" PRIMARY KEY ("id")\n) WITHOUT ROWID;\n',
			'CREATE INDEX "lines_a" ON "lines" ("a" DESC) WHERE ("a" <> \'\');\n',
			'ALTER TABLE "parts" ADD COLUMN "note" TEXT DEFAULT \'it\'\'s\';\n',
		].join('\n\n'))
		assert.equal(files['20230903/migration.sql'], 'ALTER TABLE "parts" ADD COLUMN "n" INTEGER DEFAULT 5 NOT NULL;\n\n\n' +
			'ALTER TABLE "lines" ADD COLUMN "up" BLOB CONSTRAINT "lines_up_fkey" REFERENCES "lines" ("id");\n\n\nDROP INDEX IF EXISTS "lines_a";\n')
		assert.equal(files['20230904/migration.sql'], '')
		assert.equal(files['20230904/metadata.json'],
			'{"format":"SatOpMigrate","ops":[],"protocol_version":"Electric.Satellite.v1_4","version":"20230904"}')
		assert.match(files['20230901/metadata.json'],
			/^\{"format":"SatOpMigrate","ops":\["[A-Za-z0-9+/]+=*"(,"[A-Za-z0-9+/]+=*"){2}\],"protocol_version":"Electric\.Satellite\.v1_4","version":"20230901"\}$/)
	})

	await step("the package's reader", async () => {
		const folder = join(world.dir, 'bundle')
		for (const file of await decompress((await get('?dialect=sqlite')).body)) {
			mkdirSync(join(folder, dirname(file.path)), { recursive: true })
			writeFileSync(join(folder, file.path), file.data)
		}
		await buildMigrations(folder, join(world.dir, 'bundle.mjs'))
		assert.ok(readFileSync(join(world.dir, 'bundle.mjs'), 'utf8').startsWith('export default ['))
		const bundled = new Database(':memory:')
		for (const { statements } of [...base.migrations, ...await loadMigrations(folder)])
			for (const statement of statements) bundled.exec(statement)
		const expected = bundled.prepare(schemaOf).all()
		assert.deepEqual(expected.filter(({ type }) => type !== 'trigger').map(({ name }) => name), ['parts_b', 'lines', 'parts'])
		assert.ok(expected.some(({ name, sql }) => name.includes('insert_main_parts') && sql.includes("'n'")), 'triggers know the last column')
		assert.deepEqual(await live.query(schemaOf), expected)
	})
})

// What a transaction does to rows before, between and after its changes of the table; what Postgres computes; TRUNCATE.
for (const version of (process.env.CLIENT_VERSION ?? '0.5.0 0.5.1 0.5.3').split(' ')) {
	scenario(`rows and migrations in one transaction, electric-sql ${version}`, async (world) => {
		const { database } = world
		await database.exec(createTables)
		await database.exec(`INSERT INTO projects VALUES ('${id(1)}', 'first', NULL); INSERT INTO tasks VALUES ('${id(11)}', '${id(1)}', 'old', 0);`)
		await database.exec(electrifyTables)
		const client = await syncedClient(world, 'ann', { version })
		await converge(world, [client])
		const subscriptions = await client.subscriptions()
		await client.exec(['UPDATE tasks SET done = 7 WHERE id = ?', id(11)])
		await converge(world, [client])

		await database.exec(`BEGIN;
			SELECT electric.migration_version('20230900000002');
			INSERT INTO tasks VALUES ('${id(12)}', '${id(1)}', 'before', 1), ('${id(13)}', '${id(1)}', 'gone', 1);
			ALTER TABLE tasks ADD COLUMN due text DEFAULT 'soon', ADD COLUMN made text NOT NULL DEFAULT now()::text;
			INSERT INTO tasks VALUES ('${id(14)}', '${id(1)}', 'between', 1);
			UPDATE tasks SET due = 'now' WHERE title = 'before';
			ALTER TABLE tasks ADD COLUMN kind text DEFAULT 'plain';
			DELETE FROM tasks WHERE title = 'gone';
			INSERT INTO tasks VALUES ('${id(15)}', '${id(1)}', 'after', 1, NULL, 'epoch', NULL);
			CREATE UNIQUE INDEX tasks_title ON tasks (title);
			COMMIT;`)
		await database.exec(`UPDATE tasks SET kind = 'odd' WHERE id = '${id(14)}'; DROP INDEX tasks_title`)
		await client.waitFor("SELECT count(*) AS n FROM sqlite_master WHERE name = 'tasks_title'", [{ n: 0 }])
		await converge(world, [client])
		assert.equal((await database.rows(`SELECT * FROM tasks WHERE made IS NULL OR due = 'soon'`)).length, 2)

		// A row that Postgres filled is written and deleted by the client as any other.
		await client.exec(['UPDATE tasks SET due = ? WHERE id = ?', 'from ann', id(11)], ['DELETE FROM tasks WHERE id = ?', id(12)])
		await converge(world, [client])
		assert.equal((await database.rows('SELECT * FROM tasks')).length, 3)

		await database.exec(`TRUNCATE projects, tasks; INSERT INTO projects VALUES ('${id(2)}', 'next', NULL)`)
		await converge(world, [client])
		assert.deepEqual(await client.subscriptions(), subscriptions, 'the client never started over')
	})
}

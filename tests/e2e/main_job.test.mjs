// The main job: two clients and Postgres write the same tables, online and offline, and end with the same rows.

import assert from 'node:assert/strict'
import { converge, createTables, electrifyTables, id, syncedClient } from './support/app.mjs'
import { scenario } from './support/world.mjs'

scenario('three sides write, offline too, and agree', async (world) => {
	const { database } = world
	await database.exec(createTables)
	await database.exec(`
		INSERT INTO projects VALUES ('${id(1)}', 'older than electrification', NULL);
		INSERT INTO tasks VALUES ('${id(11)}', '${id(1)}', 'so is this', 0);`)
	await database.exec(electrifyTables)

	const ann = await syncedClient(world, 'ann')
	const bob = await syncedClient(world, 'bob')
	const both = [ann, bob]
	await converge(world, both)
	assert.equal((await ann.query('SELECT * FROM tasks')).length, 1, 'rows from before electrification arrive')
	const subscriptions = await Promise.all(both.map((client) => client.subscriptions()))

	// Inserts on each side, children with their parents.
	await database.exec(`INSERT INTO projects VALUES ('${id(2)}', 'from postgres', 'a note')`)
	await ann.exec(
		['INSERT INTO projects VALUES (?, ?, ?)', id(3), "from ann, with a quote ' and é", null],
		['INSERT INTO tasks VALUES (?, ?, ?, ?)', id(31), id(3), 'first', 0],
		['INSERT INTO tasks VALUES (?, ?, ?, ?)', id(32), id(3), 'second', null])
	await bob.exec(['INSERT INTO tasks VALUES (?, ?, ?, ?)', id(12), id(1), 'from bob', 0])
	await converge(world, both)

	// Updates and deletes of rows that another side made.
	await database.exec(`UPDATE tasks SET done = 1 WHERE id = '${id(31)}'; DELETE FROM tasks WHERE id = '${id(11)}';`)
	await converge(world, both)
	await ann.exec(['UPDATE projects SET note = ? WHERE id = ?', '', id(2)])
	await bob.exec(['DELETE FROM tasks WHERE id = ?', id(32)])
	await converge(world, both)
	assert.equal((await database.rows('SELECT * FROM tasks')).length, 2)

	// Both change the same row while neither hears of the other: each keeps the column that it wrote.
	await Promise.all(both.map((client) => client.offline()))
	await ann.exec(['UPDATE projects SET name = ? WHERE id = ?', 'named by ann', id(2)])
	await bob.exec(['UPDATE projects SET note = ? WHERE id = ?', 'noted by bob', id(2)])
	await database.exec(`INSERT INTO tasks VALUES ('${id(21)}', '${id(2)}', 'made while they were away', 0)`)
	await Promise.all(both.map((client) => client.online()))
	await converge(world, both)
	assert.deepEqual(await database.rows(`SELECT name, note FROM projects WHERE id = '${id(2)}'`),
		[{ name: 'named by ann', note: 'noted by bob' }])

	// Written offline, killed, started again from the file.
	await bob.offline()
	await bob.exec(
		['INSERT INTO projects VALUES (?, ?, ?)', id(4), 'written offline', null],
		['INSERT INTO tasks VALUES (?, ?, ?, ?)', id(41), id(4), 'also offline', 0])
	await bob.exec(['UPDATE tasks SET done = 2 WHERE id = ?', id(31)])
	await bob.kill()
	await database.exec(`UPDATE projects SET note = 'meanwhile' WHERE id = '${id(3)}'`)
	await bob.start()
	await converge(world, both)
	assert.deepEqual(await database.rows(`SELECT title FROM tasks WHERE id = '${id(41)}'`), [{ title: 'also offline' }])

	// Migrations while connected: a column, then a table that refers to what is synced already.
	await database.exec(`
		SELECT electric.migration_version('20230900000002');
		ALTER TABLE tasks ADD COLUMN due text;`)
	await database.exec(`UPDATE tasks SET due = 'tomorrow' WHERE id = '${id(12)}'`)
	await converge(world, both)
	await database.exec(`
		CREATE TABLE comments (id uuid PRIMARY KEY, task_id uuid REFERENCES tasks, body text);
		SELECT electric.migration_version('20230900000003');
		CALL electric.electrify('comments');`)
	await database.exec(`INSERT INTO comments VALUES ('${id(121)}', '${id(12)}', 'from postgres')`)
	for (const client of both) {
		await client.migrated('comments')
		await client.sync('comments', { task: { include: { project: true } } })
	}
	await ann.exec(['INSERT INTO comments VALUES (?, ?, ?)', id(122), id(12), 'from ann'])
	await converge(world, both, ['projects', 'tasks', 'comments'])

	for (const [i, client] of both.entries()) {
		const [now, before] = [await client.subscriptions(), subscriptions[i]]
		assert.ok(before.every((subscription) => now.includes(subscription)), `${client.name} never started over`)
	}
})

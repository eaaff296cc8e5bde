// Each published version of the client line that the service serves: migrates, syncs, writes, resumes.

import assert from 'node:assert/strict'
import { converge, createTables, electrifyTables, id, syncedClient } from './support/app.mjs'
import { scenario } from './support/world.mjs'

const versions = (process.env.CLIENT_VERSION ?? '0.5.0 0.5.1 0.5.3').split(' ')

for (const version of versions) {
	scenario(`electric-sql ${version}`, async (world) => {
		const { database } = world
		await database.exec(createTables + electrifyTables)
		await database.exec(`
			INSERT INTO projects VALUES ('${id(1)}', 'first', NULL);
			INSERT INTO tasks VALUES ('${id(11)}', '${id(1)}', 'first task', 0);`)

		const client = await syncedClient(world, 'ann', { version })
		await converge(world, [client])
		const subscriptions = await client.subscriptions()

		await database.exec(`UPDATE tasks SET title = NULL, done = -5 WHERE id = '${id(11)}'`)
		await client.exec(
			['INSERT INTO projects VALUES (?, ?, ?)', id(2), 'second', ''],
			['INSERT INTO tasks VALUES (?, ?, ?, ?)', id(21), id(2), 'child of the same transaction', 1])
		await converge(world, [client])
		await client.exec(['DELETE FROM tasks WHERE id = ?', id(11)])
		await converge(world, [client])
		assert.equal((await database.rows('SELECT * FROM tasks')).length, 1)

		// Away with the process alive, and then from the file alone.
		await client.offline()
		await database.exec(`UPDATE projects SET note = 'missed' WHERE id = '${id(1)}'`)
		await client.exec(['UPDATE projects SET name = ? WHERE id = ?', 'renamed offline', id(2)])
		await client.online()
		await converge(world, [client])

		await client.kill()
		await database.exec(`INSERT INTO tasks VALUES ('${id(12)}', '${id(1)}', 'missed too', 0)`)
		await client.start()
		await client.exec(['UPDATE projects SET note = ? WHERE id = ?', 'after the restart', id(2)])
		await converge(world, [client])
		assert.deepEqual(await client.subscriptions(), subscriptions, 'the client never started over')
	})
}

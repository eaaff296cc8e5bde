// What an app wrote before it asked for its table: the rows that then come must not meet those that are there.

import assert from 'node:assert/strict'
import { converge, createTables, electrifyTables, id, syncedClient, tables } from './support/app.mjs'
import { scenario } from './support/world.mjs'

for (const version of ['0.5.0', '0.5.3'])
	scenario(`rows written before the sync: ${version}`, async (world) => {
		const { database } = world
		await database.exec(createTables)
		await database.exec(`INSERT INTO projects VALUES ('${id(1)}', 'one', NULL)`)
		await database.exec(electrifyTables)
		const bob = await syncedClient(world, 'bob', { version })
		const ann = await world.client('ann', { version, tables })
		await ann.migrated('tasks')
		await ann.exec(['INSERT INTO projects VALUES (?, ?, ?)', id(2), 'two', 'hers'],
			['INSERT INTO tasks VALUES (?, ?, ?, ?)', id(12), id(2), 'hers', 1],
			['INSERT INTO tasks VALUES (?, ?, ?, ?)', id(13), id(2), 'hers, too', 1])
		await ann.echoed()
		await converge(world, [bob])
		// Others go on with them.
		await bob.exec(['UPDATE tasks SET title = ? WHERE id = ?', 'changed by bob', id(12)])
		await database.exec(`UPDATE projects SET note = 'changed in Postgres' WHERE id = '${id(2)}'`)
		await converge(world, [bob])
		await ann.sync('tasks', { project: true })
		await ann.exec(['INSERT INTO tasks VALUES (?, ?, ?, ?)', id(14), id(1), 'after', 2])
		await converge(world, [ann, bob])
		assert.equal((await ann.subscriptions()).length, 1)
	})

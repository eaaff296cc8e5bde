// The service goes away and comes back: clients go on from where they were, whether they were connected or not.

import assert from 'node:assert/strict'
import { converge, createTables, electrifyTables, id, syncedClient } from './support/app.mjs'
import { scenario } from './support/world.mjs'

scenario('a restart resets no client', async (world) => {
	const { database, service } = world
	await database.exec(createTables + electrifyTables)
	await database.exec(`
		INSERT INTO projects SELECT ('00000000-0000-4000-9000-' || lpad(n::text, 12, '0'))::uuid, 'project ' || n, NULL
		FROM generate_series(1, 500) n`)
	const connected = await syncedClient(world, 'connected')
	const away = await syncedClient(world, 'away')
	const both = [connected, away]
	await converge(world, both)
	const before = await Promise.all(both.map((client) => client.subscriptions()))

	// Nobody deletes a project here, so whoever does is a client that starts over.
	await connected.exec('CREATE TABLE vanished (id TEXT)')
	await connected.exec(`CREATE TRIGGER watch BEFORE DELETE ON projects
		BEGIN INSERT INTO vanished VALUES (old.id); END`)

	await away.exec(['INSERT INTO projects VALUES (?, ?, ?)', id(1), 'just before it left', null])
	await away.kill()
	for (const round of [1, 2]) {
		await service.stop()
		await connected.exec(['INSERT INTO projects VALUES (?, ?, ?)', id(10 + round), 'while the service was down', null])
		await database.exec(`INSERT INTO projects VALUES ('${id(20 + round)}', 'while the service was down', NULL)`)
		await service.start()
		await connected.echoed()
		await database.exec(`UPDATE projects SET note = 'round ${round}' WHERE id = '${id(10 + round)}'`)
		await converge(world, [connected])
	}
	await away.start()
	await converge(world, both)
	assert.equal((await database.rows('SELECT * FROM projects')).length, 505)

	assert.deepEqual(await connected.query('SELECT count(*) AS n FROM vanished'), [{ n: 0 }])
	assert.deepEqual(await Promise.all(both.map((client) => client.subscriptions())), before)
	assert.deepEqual(service.logged(/BEHIND_WINDOW/), [])
})

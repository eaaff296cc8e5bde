// Two clients change different columns of one row before either has heard of the other, and then hear of both
// changes at once: every side keeps both.
//
// What makes this hard: a client of 0.5.3 takes longer over its own echo than over another's transaction, so that of
// two that reach it in the same read the older one is applied last.

import assert from 'node:assert/strict'
import { converge, createTables, electrifyTables, id, syncedClient } from './support/app.mjs'
import { until } from './support/wait.mjs'
import { scenario } from './support/world.mjs'

scenario('columns written at the same time are all kept', async (world) => {
	const { database, service } = world
	await database.exec(createTables + electrifyTables)
	await database.exec(`INSERT INTO projects VALUES ('${id(1)}', 'name', 'note')`)
	const ann = await syncedClient(world, 'ann')
	const bob = await syncedClient(world, 'bob')
	await converge(world, [ann, bob])

	const write = async (client, column, value) => {
		await client.exec([`UPDATE projects SET ${column} = ?`, value])
		await until('Postgres to hold it', async () => (await database.rows(`SELECT ${column} AS value FROM projects`))[0].value === value)
	}
	for (let round = 1; round <= 12; round++) {
		const writes = [() => write(ann, 'name', `name ${round}`), () => write(bob, 'note', `note ${round}`)]
		if (round % 2 === 0) writes.reverse()
		service.kill('pg-ingest', 'SIGSTOP') // what Postgres holds is not told to anybody meanwhile
		for (const perform of writes) await perform()
		service.kill('pg-ingest', 'SIGCONT')
		await converge(world, [ann, bob])
		assert.deepEqual(await database.rows('SELECT name, note FROM projects'),
			[{ name: `name ${round}`, note: `note ${round}` }])
	}
})

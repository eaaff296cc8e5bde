// Each tool is killed in turn, and Postgres too, while rows flow both ways: nothing is lost, nothing comes twice.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { converge, createTables, electrifyTables, id, syncedClient } from './support/app.mjs'
import { until } from './support/wait.mjs'
import { scenario } from './support/world.mjs'

const tools = ['pg-ingest', 'pg-snapshot', 'pg-publish', 'log-store', 'ws-gateway', 'auth-check', 'http-api']

scenario('rows flow on after SIGKILL', async (world, step) => {
	const { database, service, postgres } = world
	await database.exec(createTables + electrifyTables)
	await database.exec(`INSERT INTO projects VALUES ('${id(1)}', 'for the tasks', NULL)`)
	const ann = await syncedClient(world, 'ann')
	const bob = await syncedClient(world, 'bob')

	const insert = (title) => ['INSERT INTO tasks VALUES (?, ?, ?, 0)', randomUUID(), id(1), title]
	const count = async (title) => (await database.rows(`SELECT id FROM tasks WHERE title = '${title}'`)).length

	// Writes rows of this title on all three sides while work() runs; returns how many.
	async function amidTraffic(title, work) {
		let going = true
		const writer = async (write) => {
			let written = 0
			for (; going; written++) await write()
			return written
		}
		const writers = Promise.all([
			writer(() => database.exec(`INSERT INTO tasks VALUES (gen_random_uuid(), '${id(1)}', '${title}', 0)`)),
			writer(() => paced(() => ann.exec(insert(title)))),
			writer(() => paced(() => bob.exec(insert(title)))),
		])
		try {
			await Promise.race([work(), writers])
		} finally {
			going = false
		}
		return (await writers).reduce((sum, written) => sum + written)
	}

	for (const tool of tools) {
		await step(tool, async () => {
			const written = await amidTraffic(tool, async () => {
				await until('rows to flow', async () => (await count(tool)) > 5)
				const victims = service.pids(tool)
				assert.notEqual(service.kill(tool), 0, `${tool} was running`)
				await until(`${tool} to be started again`, () => service.pids(tool).some((pid) => !victims.includes(pid)))
			})
			const newcomer = await syncedClient(world, `after-${tool}`)
			await converge(world, [ann, bob, newcomer])
			await newcomer.kill()
			assert.equal(await count(tool), written)
			await until('the status page', () => fetch(`http://${service.http}/api/status`).then((page) => page.ok, () => false))
		})
	}

	await step('Postgres', async () => {
		await ann.exec(insert('Postgres'))
		await postgres.stop('immediate')
		await bob.exec(insert('Postgres'))
		await postgres.start()
		await converge(world, [ann, bob])
		assert.equal(await count('Postgres'), 2)
	})
})

// The clients gather what is written within 40 ms into one transaction; a write for each gives many transactions.
async function paced(write) {
	await write()
	await new Promise((resolve) => setTimeout(resolve, 45))
}

// Random writes of three clients and of Postgres on the same few rows, with clients that come and go: after each round
// of them, every side holds the same. ROUNDS and SEED (of the first) change what is run.

import { converge, createTables, electrifyTables, id, syncedClient } from './support/app.mjs'
import { scenario } from './support/world.mjs'

const rounds = Number(process.env.ROUNDS ?? 20)
const first = Number(process.env.SEED ?? 1)

// mulberry32
function generator(seed) {
	let a = seed * 2654435769
	return (n) => {
		a = (a + 0x6d2b79f5) | 0
		let t = Math.imul(a ^ (a >>> 15), 1 | a)
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
		return ((t ^ (t >>> 14)) >>> 0) % n
	}
}

// One write as SQL that both sides understand. What the rules of either side do not allow is not done.
function write(random) {
	const project = id(1 + random(4)), task = id(11 + random(5)), value = `value ${random(1000)}`
	switch (random(8)) {
	case 0: return `INSERT INTO projects VALUES ('${project}', '${value}', NULL) ON CONFLICT DO NOTHING`
	case 1: return `UPDATE projects SET name = '${value}' WHERE id = '${project}'`
	case 2: return `UPDATE projects SET note = '${value}' WHERE id = '${project}'`
	case 3: return `DELETE FROM projects WHERE id = '${project}'`
	case 4: return `INSERT INTO tasks VALUES ('${task}', '${project}', '${value}', ${random(9)}) ON CONFLICT DO NOTHING`
	case 5: return `UPDATE tasks SET title = '${value}' WHERE id = '${task}'`
	case 6: return `UPDATE tasks SET done = ${random(9)} WHERE id = '${task}'`
	default: return `DELETE FROM tasks WHERE id = '${task}'`
	}
}

scenario(`${rounds} rounds of random writes from seed ${first} on`, async (world) => {
	const { database } = world
	await database.exec(createTables + electrifyTables)
	const clients = []
	for (const name of ['ann', 'bob', 'cleo']) clients.push(await syncedClient(world, name))

	for (let seed = first; seed < first + rounds; seed++) {
		const random = generator(seed)
		const away = new Set()
		const done = []
		try {
			for (let step = 0; step < 12 + random(12); step++) {
				const client = clients[random(clients.length)]
				const sql = write(random)
				switch (random(8)) {
				case 0:
					done.push(`${client.name} ${away.has(client) ? 'online' : 'offline'}`)
					if (away.delete(client)) await client.online()
					else await away.add(client) && client.offline()
					break
				case 1: case 2:
					done.push(`postgres: ${sql}`)
					await database.exec(sql).catch(() => {})
					break
				default:
					done.push(`${client.name}: ${sql}`)
					await client.exec(sql).catch(() => {})
				}
			}
			for (const client of away) await client.online()
			await converge(world, clients)
		} catch (error) {
			console.error(`seed ${seed}:\n  ${done.join('\n  ')}`)
			throw error
		}
	}
})

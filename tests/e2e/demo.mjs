// The main job, told step by step: Postgres and two SQLite databases keep one table in step.

import { isDeepStrictEqual } from 'node:util'
import { id } from './support/app.mjs'
import { World } from './support/world.mjs'

// A database of the user's own keeps what the demo made, so a second run needs a name of its own.
const databaseUrl = process.env.DATABASE_URL || undefined
const table = databaseUrl ? `leyden_demo_${Date.now()}` : 'notes'
const select = `SELECT id, title, status FROM ${table} ORDER BY id`
const world = new World()
let stepsTold = 0

function tell(text) {
	console.log(`\n${++stepsTold}. ${text}`)
}

// One line a row and one column a side: what each of them holds at this moment.
async function show(sides) {
	const held = await Promise.all(Object.values(sides).map((rows) => rows()))
	const ids = [...new Set(held.flat().map((row) => row.id))].sort()
	const cells = ids.map((id) => held.map((rows) => {
		const row = rows.find((row) => row.id === id)
		return row ? `${row.title} (${row.status ?? 'no status'})` : '-'
	}))
	const lines = [Object.keys(sides), ...cells]
	const widths = Object.keys(sides).map((_, i) => Math.max(...lines.map((line) => line[i].length)))
	const [heading, ...body] = lines.map((line) => '   ' + line.map((cell, i) => cell.padEnd(widths[i])).join('   ').trimEnd())
	console.log([heading, '   ' + widths.map((width) => '-'.repeat(width)).join('   '), ...body].join('\n'))
	return held.every((rows) => isDeepStrictEqual(rows, held[0]))
}

async function demo() {
	tell(databaseUrl ? `Postgres is the one that DATABASE_URL names; Leyden starts beside it.`
		: 'A throwaway Postgres starts, and Leyden beside it.')
	await world.start({ databaseUrl })
	const { database, service } = world
	console.log(`   clients connect to ${service.url}; ${service.http} answers over HTTP`)

	tell(`An ordinary table, with a row in it, is electrified: CALL electric.electrify('${table}')`)
	await database.exec(`CREATE TABLE ${table} (id uuid PRIMARY KEY, title text, status text);
		INSERT INTO ${table} VALUES ('${id(1)}', 'buy milk', NULL);`)
	await database.exec(`SELECT electric.migration_version('${Date.now()}'); CALL electric.electrify('${table}');`)

	tell('Ann and Bob each open a SQLite file with the npm client electric-sql, and subscribe to the table.')
	const tables = { [table]: { fields: ['id', 'title', 'status'] } }
	const [ann, bob] = [await world.client('ann', { tables }), await world.client('bob', { tables })]
	for (const client of [ann, bob]) {
		await client.migrated(table)
		await client.sync(table)
	}
	const sides = {
		Postgres: () => database.rows(select),
		"Ann's SQLite": () => ann.query(select),
		"Bob's SQLite": () => bob.query(select),
	}
	const agreed = async (clients = [ann, bob]) => {
		for (const client of clients) await client.echoed()
		for (const client of clients) await client.waitFor(select, await database.rows(select))
	}
	await agreed()
	await show(sides)

	tell('Each side adds a row.')
	await database.exec(`INSERT INTO ${table} VALUES ('${id(2)}', 'from Postgres', 'open')`)
	await ann.exec([`INSERT INTO ${table} VALUES (?, ?, ?)`, id(3), 'from Ann', 'open'])
	await bob.exec([`INSERT INTO ${table} VALUES (?, ?, ?)`, id(4), 'from Bob', 'open'])
	await agreed()
	await show(sides)

	tell("Bob goes offline and works on: he renames Ann's row and adds one. The others do not hear of it.")
	await bob.offline()
	await bob.exec(
		[`UPDATE ${table} SET title = ? WHERE id = ?`, "from Ann, in Bob's words", id(3)],
		[`INSERT INTO ${table} VALUES (?, ?, ?)`, id(5), 'written offline', 'open'])
	await show(sides)

	tell('Meanwhile Ann closes that same row, and Postgres deletes the milk. Bob does not hear of that.')
	await ann.exec([`UPDATE ${table} SET status = ? WHERE id = ?`, 'closed', id(3)])
	await database.exec(`DELETE FROM ${table} WHERE id = '${id(1)}'`)
	await agreed([ann])
	await show(sides)

	tell("Bob is back. Every change arrives everywhere; of the row that two changed, each one's column stays.")
	await bob.online()
	await agreed()
	const same = await show(sides)
	console.log(same ? '\nAll three hold the same rows.' : '\nThe three differ.')
	return same
}

try {
	const same = await demo()
	await world.stop()
	process.exitCode = same ? 0 : 1
} catch (error) {
	console.error(`\n${error.stack}\n${world.report()}`)
	world.removeNow()
	process.exitCode = 1
}

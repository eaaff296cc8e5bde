// The worked cases of what a client makes of others' writes beside its own (27 to 34 of the protocol's description), as
// the real client ends them: ann writes while she is away, bob while he is there, and then all hold the same row.

import assert from 'node:assert/strict'
import { converge, createTables, electrifyTables, id, syncedClient } from './support/app.mjs'
import { scenario } from './support/world.mjs'

const insert = (row, name, note) => ['INSERT INTO projects VALUES (?, ?, ?)', row, name, note]
const remove = (row) => ['DELETE FROM projects WHERE id = ?', row]
// A client's clock has milliseconds: what comes after must be later.
const laterThan = async (start) => { while (Date.now() <= start) await new Promise(setImmediate) }

for (const version of ['0.5.0', '0.5.3'])
	scenario(`a client beside others: ${version}`, async (world, step) => {
		const { database } = world
		await database.exec(createTables + electrifyTables)
		const ann = await syncedClient(world, 'ann', { version })
		const bob = await syncedClient(world, 'bob', { version })
		const both = [ann, bob]
		let row = 0

		// Each writer's transactions, one after the other; then the row, and whose tags it has at ann's.
		const ends = async (writers, expected, sources) => {
			await ann.offline()
			for (const [writer, ...transactions] of writers)
				for (const transaction of transactions) {
					await writer.exec(...transaction)
					if (writer === bob) await bob.echoed()
					// The client takes what was written since it last looked as one transaction.
					else await ann.waitFor("SELECT count(*) AS n FROM _electric_oplog WHERE timestamp IS NULL OR timestamp = ''", [{ n: 0 }])
					await laterThan(Date.now())
				}
			await ann.online()
			await converge(world, both)
			assert.deepEqual(await database.rows(`SELECT name, note FROM projects WHERE id = '${id(row)}'`), expected)
			const shadow = await ann.query(`SELECT tags FROM _electric_shadow WHERE primaryKey LIKE '%${id(row)}%'`)
			const tags = shadow.length > 0 ? JSON.parse(shadow[0].tags) : []
			const names = Object.fromEntries(await Promise.all(both.map(async (client) =>
				[(await client.query("SELECT value FROM _electric_meta WHERE key = 'clientId'"))[0].value, client.name])))
			assert.deepEqual(tags.map((tag) => names[tag.slice(0, tag.lastIndexOf('@'))]).sort(), sources)
		}
		const next = () => id(++row)

		await step('27: both insert, the local one later', async () => {
			const r = next()
			await ends([[bob, [insert(r, 'incoming', null)]], [ann, [insert(r, 'local', '1')]]],
				[{ name: 'local', note: '1' }], ['ann', 'bob'])
		})
		await step('28: both insert, the other one later', async () => {
			const r = next()
			await ends([[ann, [insert(r, 'local', '1')]], [bob, [insert(r, 'incoming', null)]]],
				[{ name: 'incoming', note: null }], ['ann', 'bob'])
		})
		await step('29: each updates a column', async () => {
			const r = next()
			await bob.exec(insert(r, 'old', '0'))
			await converge(world, both)
			await ends([[ann, [['UPDATE projects SET note = ? WHERE id = ?', '1', r]]],
				[bob, [['UPDATE projects SET name = ? WHERE id = ?', 'new', r]]]],
			[{ name: 'new', note: '1' }], ['ann', 'bob'])
		})
		await step('30: inserted and deleted in one transaction, and inserted by another before', async () => {
			const r = next()
			await ends([[bob, [insert(r, 'incoming', '2')]], [ann, [insert(r, 'local', '1'), remove(r)]]],
				[{ name: 'local', note: '1' }], ['bob'])
		})
		await step('30: the same, and inserted by another after', async () => {
			const r = next()
			await ends([[ann, [insert(r, 'local', '1'), remove(r)]], [bob, [insert(r, 'incoming', '2')]]],
				[{ name: 'incoming', note: '2' }], ['bob'])
		})
		await step('31: inserted and deleted in two transactions', async () => {
			const r = next()
			await ends([[ann, [insert(r, 'local', '1')], [remove(r)]], [bob, [insert(r, 'incoming', '2')]]],
				[{ name: 'incoming', note: '2' }], ['bob'])
		})
		await step('32: inserted, deleted and inserted again', async () => {
			const r = next()
			await ends([[ann, [insert(r, 'first', '1')], [remove(r)], [insert(r, 'second', '2')]]],
				[{ name: 'second', note: '2' }], ['ann'])
		})
		await step('33: deleted while another updates it', async () => {
			const r = next()
			await ann.exec(insert(r, 'old', '0'))
			await converge(world, both)
			await ends([[bob, [['UPDATE projects SET name = ? WHERE id = ?', 'kept', r]]], [ann, [remove(r)]]],
				[{ name: 'kept', note: '0' }], ['bob'])
		})
		await step('34: inserted while another inserts and deletes it in one transaction', async () => {
			const r = next()
			await ends([[ann, [insert(r, 'local', '1')]], [bob, [insert(r, 'incoming', '2'), remove(r)]]],
				[{ name: 'incoming', note: '2' }], ['ann'])
		})
	})

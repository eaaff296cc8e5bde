// The process in which client.mjs keeps one npm client: carries out what its parent asks for, message by message.

import { EventEmitter } from 'node:events'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isDeepStrictEqual } from 'node:util'
import { pathToFileURL } from 'node:url'
import Sqlite from 'better-sqlite3'
import { schemaOf } from './schema.mjs'
import { within } from './wait.mjs'

let db, electric, notifier
const changes = new EventEmitter() // 'change': of rows or of connectivity
let wanted = true // false while the app says that there is no network
let connected = false
let wedged = false

async function load(version) {
	const here = new URL('..', import.meta.url)
	const alias = `electric-sql-${version}`
	const [from, name] =
		!version ? [here, 'electric-sql']
		: existsSync(new URL(`node_modules/${alias}`, here)) ? [here, alias]
		: existsSync(new URL(`versions/${version}`, here)) ? [new URL(`versions/${version}/`, here), 'electric-sql']
		: [here, 'electric-sql']
	const require = createRequire(new URL('package.json', from))
	const url = (path) => pathToFileURL(require.resolve(path))
	const dist = new URL('../../', url(`${name}/node`))
	const found = require(`${name}/package.json`).version
	if (version && found !== version) throw new Error(`client ${version} is not installed: tests/e2e/install ${version}`)
	return {
		...(await import(url(`${name}/node`))),
		...(await import(url(`${name}/client/model`))),
		...(await import(url(`${name}/notifiers`))),
		...(await import(new URL('sockets/node.js', dist))),
		z: await import(url('zod')),
	}
}

// The client's socket for Node does not tell it that the service has closed the connection, as a browser's
// does. An app's own connectivity watch stands in for that here, through the events that the client offers.
function watchedSockets({ WebSocketNode }) {
	class Socket extends WebSocketNode {
		open(options) {
			super.open(options)
			this.socket.on('close', () => {
				if (connected) notifier.connectivityStateChanged(db.name, 'disconnected')
			})
			return this
		}
	}
	return { create: () => new Socket() }
}

function onConnectivity({ connectivityState }) {
	connected = connectivityState === 'connected'
	changes.emit('change')
	if (connectivityState === 'disconnected' && wanted) setImmediate(reconnect)
}

function reconnect() {
	if (wanted) notifier.connectivityStateChanged(db.name, 'available')
}

// Looks now, and whenever the client has announced a change, until it has come true, or never can.
async function untilTrue(what, ms, look) {
	let recheck
	const seen = new Promise((resolve, reject) => {
		const check = () => {
			try {
				if (look()) resolve()
				else if (wedged) reject(new Error('wedged'))
			} catch (error) {
				reject(error)
			}
		}
		// The first versions announce a transaction a moment before they have dropped its oplog entries.
		recheck = () => setImmediate(check)
		changes.on('change', recheck)
		check()
	})
	try {
		await within(ms, what, seen)
	} finally {
		changes.off('change', recheck)
	}
}

const operations = {
	async open({ file, url, token, tables, version }) {
		const client = await load(version)
		db = new Sqlite(file)
		notifier = new client.EventNotifier(db.name)
		notifier.subscribeToConnectivityStateChanges(onConnectivity)
		notifier.subscribeToDataChanges(() => changes.emit('change'))
		electric = await client.electrify(db, schemaOf(tables, client, client.z), { url, auth: { token } },
			{ notifier, socketFactory: watchedSockets(client) })
	},

	connected(ms) {
		return untilTrue('the connection', ms, () => connected)
	},

	async sync(table, include) {
		const { synced } = await electric.db[table].sync({ include })
		await synced
	},

	// As an app with SQL of its own does it: the client's triggers note the changes, and it is told to look.
	exec(statements) {
		db.transaction(() => {
			for (const [sql, ...values] of statements.map((statement) => [statement].flat())) db.prepare(sql).run(...values)
		})()
		notifier.potentiallyChanged()
	},

	query(sql) {
		return db.prepare(sql).all()
	},

	async waitFor(sql, rows, ms) {
		let found
		try {
			await untilTrue('rows', ms, () => isDeepStrictEqual(found = queryOrNothing(sql), rows))
		} catch (error) {
			if (wedged) throw error
			throw new Error(`${error.message}: ${sql}\n  wanted ${JSON.stringify(rows)}\n  found  ${JSON.stringify(found)}`)
		}
	},

	offline() {
		wanted = false
		notifier.connectivityStateChanged(db.name, 'disconnected')
	},

	online() {
		wanted = true
		reconnect()
	},
}

// A table may be awaited before the migration that creates it.
function queryOrNothing(sql) {
	try {
		return operations.query(sql)
	} catch (error) {
		if (/no such (table|column)/.test(error.message)) return error.message
		throw error
	}
}

process.on('message', async ({ id, operation, args, timeout }) => {
	try {
		process.send({ id, result: await operations[operation](...args, timeout) })
	} catch (error) {
		process.send({ id, error: error.message })
	}
})
process.on('disconnect', () => process.exit())

// The client leaves rejections uncaught when a connection fails; it goes on, and so does this process.
process.on('uncaughtException', (error) => console.error('uncaught exception:', error))
process.on('unhandledRejection', (error) => {
	console.error('unhandled rejection:', error?.message ?? error)
	// One of them is for good: a look for local writes between the socket's opening and the service's request
	// for them fails halfway, and every later look finds that one still going on.
	if (error?.message === 'already performing snapshot') {
		wedged = true
		changes.emit('change')
	}
})

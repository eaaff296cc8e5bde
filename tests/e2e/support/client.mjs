// A published npm client with a SQLite file of its own, in a process of its own: it can be killed and started again.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { timeout, within } from './wait.mjs'

const program = fileURLToPath(new URL('client-process.mjs', import.meta.url))

export class Client {
	output = [] // what the client wrote to its console, and the errors that nobody caught

	// tables: name → { fields, parents }, as schema.mjs takes them. version: of the npm package.
	constructor({ name, file, url, token, tables, version = process.env.CLIENT_VERSION }) {
		this.name = name
		this.options = { file, url, token, tables, version }
	}

	async start() {
		this.child = fork(program, [], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
		this.exited = once(this.child, 'exit')
		this.pending = new Map()
		this.asked = 0
		this.child.on('message', (message) => this.#answer(message))
		for (const stream of [this.child.stdout, this.child.stderr]) {
			stream.setEncoding('utf8').on('data', (chunk) => this.output.push(...chunk.trimEnd().split('\n')))
		}
		this.child.on('exit', (code, signal) => {
			for (const { reject } of this.pending.values()) reject(new Error(`${this.name} ended: ${signal ?? `exit ${code}`}`))
		})
		await this.#ask('open', this.options)
		return this
	}

	// The moment from which the service and the client exchange transactions.
	connected() {
		return this.#restartedWhenWedged('connected')
	}

	migrated(table) {
		return this.waitFor(`SELECT name FROM sqlite_master WHERE type = 'table' AND name = '${table}'`, [{ name: table }])
	}

	// Subscribes to the table, and to the parents that include names; resolves when the rows are there.
	sync(table, include = {}) {
		return this.#ask('sync', table, include)
	}

	// Statements are run in one transaction: each is SQL, or [SQL, …values].
	exec(...statements) {
		return this.#ask('exec', statements)
	}

	query(sql) {
		return this.#ask('query', sql)
	}

	// Waits until the query gives these rows.
	waitFor(sql, rows) {
		return this.#restartedWhenWedged('waitFor', sql, rows)
	}

	// All that the user wrote here has been to Postgres and has come back.
	echoed() {
		return this.waitFor('SELECT count(*) AS pending FROM _electric_oplog', [{ pending: 0 }])
	}

	// What changes when the client gives up its state and starts over.
	async subscriptions() {
		const [{ value }] = await this.query("SELECT value FROM _electric_meta WHERE key = 'subscriptions'")
		return Object.keys(JSON.parse(value)).sort()
	}

	offline() {
		return this.#ask('offline')
	}

	async online() {
		await this.#ask('online')
		await this.connected()
	}

	// SIGKILL: the file is left as it is at that moment.
	async kill() {
		this.child.kill('SIGKILL')
		await this.exited
	}

	killNow() {
		this.child?.kill('SIGKILL')
	}

	// A client that has wedged itself is started again, as its user would.
	async #restartedWhenWedged(operation, ...args) {
		try {
			await this.#ask(operation, ...args)
		} catch (error) {
			if (error.message !== `${this.name}: wedged`) throw error
			await this.kill()
			await this.start()
			await this.#restartedWhenWedged(operation, ...args)
		}
	}

	#ask(operation, ...args) {
		const id = ++this.asked
		const answer = new Promise((resolve, reject) => {
			this.pending.set(id, { resolve, reject })
			this.child.send({ id, operation, args, timeout })
		})
		// The process itself says in more detail what it has waited for in vain; this is for one that hangs.
		return within(timeout + 2000, `${this.name} to ${operation}`, answer).finally(() => this.pending.delete(id))
	}

	#answer({ id, result, error }) {
		const request = this.pending.get(id)
		if (error) request?.reject(new Error(`${this.name}: ${error}`))
		else request?.resolve(result)
	}
}

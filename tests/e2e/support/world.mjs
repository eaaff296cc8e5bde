// A scenario's world: a throwaway Postgres, the service, any number of clients; gone when the scenario ends.

import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { Client } from './client.mjs'
import { Database } from './pg.mjs'
import { Postgres } from './postgres.mjs'
import { Service } from './service.mjs'

const exit = () => process.exit(130)

export class World {
	clients = []

	// databaseUrl: of a Postgres to use in place of a throwaway one. env: for the service.
	async start({ databaseUrl, env } = {}) {
		this.dir = mkdtempSync(join(tmpdir(), 'leyden-e2e-'))
		chmodSync(this.dir, 0o711) // Postgres runs as another user, one level below
		process.on('exit', this.removeNow)
		for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, exit)
		if (!databaseUrl) {
			this.postgres = await new Postgres(join(this.dir, 'pg'), 'fsync=off').start()
			databaseUrl = this.postgres.url
		}
		this.database = new Database(databaseUrl)
		this.service = new Service({ dir: this.dir, databaseUrl, env })
		await this.service.start()
		return this
	}

	// A client whose user id is its name, started.
	async client(name, { tables, version } = {}) {
		const client = new Client({
			name, tables, version,
			file: join(this.dir, `${name}.db`), url: this.service.url, token: this.service.token(name),
		})
		this.clients.push(client)
		return client.start()
	}

	async stop() {
		for (const client of this.clients) await client.kill()
		await this.service?.stop()
		await this.postgres?.remove()
		rmSync(this.dir, { recursive: true })
		this.#forget()
	}

	// Whatever state it is in, and without waiting: the process may be on its way out.
	removeNow = () => {
		for (const client of this.clients) client.killNow()
		this.service?.killNow()
		this.postgres?.removeNow()
		rmSync(this.dir, { recursive: true, force: true })
		this.#forget()
	}

	#forget() {
		process.off('exit', this.removeNow)
		for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, exit)
	}

	report() {
		const tail = (title, lines) => lines.length === 0 ? [] : [`--- ${title}, last lines`, ...lines.slice(-60)]
		return [
			...tail('leyden', this.service?.lines ?? []),
			...this.clients.flatMap((client) => tail(client.name, client.output)),
		].join('\n')
	}
}

// A test with a world of its own; body gets it, and step(name, work) for tests within. One that fails shows what
// the service and the clients said.
export function scenario(name, body) {
	test(name, async (t) => {
		const world = new World()
		const reporting = async (work) => {
			try {
				await work()
			} catch (error) {
				console.error(world.report())
				throw error
			}
		}
		try {
			await reporting(async () => {
				await world.start()
				await body(world, (step, work) => t.test(step, () => reporting(work)))
				await world.stop()
			})
		} catch (error) {
			world.removeNow()
			throw error
		}
	})
}

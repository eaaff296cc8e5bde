// SQL in Postgres, through psql.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'

export class Database {
	constructor(url) {
		this.url = url
	}

	// Runs the statements in one transaction.
	async exec(sql) {
		return this.#psql(['--single-transaction'], sql)
	}

	// Runs each statement in a transaction of its own.
	async execEach(sql) {
		return this.#psql([], sql)
	}

	async rows(query) {
		return JSON.parse(await this.#psql([], `SELECT coalesce(json_agg(q), '[]') FROM (${query}) q;`))
	}

	async #psql(options, input) {
		const psql = spawn('psql', [
			'--no-psqlrc', '--quiet', '--no-align', '--tuples-only', '--set=ON_ERROR_STOP=1',
			...options, '--file=-', this.url,
		])
		psql.stdin.on('error', () => {}) // it may end before it has read everything; its exit code tells
		psql.stdin.end(input)
		const [output, errors, [code]] = await Promise.all([text(psql.stdout), text(psql.stderr), once(psql, 'close')])
		if (code !== 0) throw new Error(`psql: ${errors.trim()}\n${input}`)
		return output
	}
}

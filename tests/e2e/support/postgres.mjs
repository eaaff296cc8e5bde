// A throwaway Postgres cluster, made by scripts/postgres.

import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'

const script = fileURLToPath(new URL('../../../scripts/postgres', import.meta.url))
const run = promisify(execFile)

export class Postgres {
	// settings: as LEYDEN_PG_OPTIONS takes them.
	constructor(dir, settings = '') {
		this.dir = dir
		this.env = { ...process.env, LEYDEN_PG_OPTIONS: settings }
	}

	async start() {
		const { stdout } = await run(script, ['start', this.dir], { env: this.env })
		this.url = stdout.trim()
		return this
	}

	async stop(mode = 'fast') {
		await run(script, ['stop', this.dir, mode])
	}

	async remove() {
		await run(script, ['remove', this.dir])
	}

	removeNow() {
		execFileSync(script, ['remove', this.dir])
	}
}

// build/bin/leyden as a child process: started, awaited, killed in part or in whole.

import { spawn } from 'node:child_process'
import { createHmac, randomBytes } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { timeout, within } from './wait.mjs'

// LEYDEN_BIN names another build, such as one with sanitizers.
const binary = process.env.LEYDEN_BIN || fileURLToPath(new URL('../../../build/bin/leyden', import.meta.url))

export class Service extends EventEmitter {
	lines = [] // everything that it has logged, over restarts too
	key = randomBytes(32).toString('hex')

	constructor({ dir, databaseUrl, env = {} }) {
		super()
		this.runDir = join(dir, 'run')
		mkdirSync(this.runDir, { recursive: true, mode: 0o700 })
		this.env = {
			PATH: process.env.PATH,
			LEYDEN_RUN_DIR: this.runDir,
			OFFSET_STORAGE_FILE: join(dir, 'log.dat'),
			LISTEN_ADDRESS: '127.0.0.1',
			WEBSOCKET_PORT: '0',
			HTTP_API_PORT: '0',
			AUTH_JWT_ALG: 'HS256',
			AUTH_JWT_KEY: this.key,
			...env,
			DATABASE_URL: databaseUrl,
		}
	}

	async start() {
		if (!existsSync(binary)) throw new Error(`${binary} is not built: run make`)
		this.child = spawn(binary, [], { env: this.env, stdio: ['ignore', 'ignore', 'pipe'] })
		this.exited = once(this.child, 'close')
		createInterface({ input: this.child.stderr }).on('line', (line) => {
			this.lines.push(line)
			this.emit('line', line)
		})
		const gone = this.exited.then(([code, signal]) => {
			throw new Error(`leyden ended before it was ready: ${signal ?? `exit ${code}`}`)
		})
		gone.catch(() => {}) // it ends after it was ready too
		const ready = await Promise.race([this.nextLine(/leyden: ready/), gone])
		this.websocket = ready.match(/\bwebsocket=(\S+)/)[1]
		this.http = ready.match(/\bhttp=(\S+)/)[1]
		// A restart comes back on the same ports, so that clients find it again.
		this.env.WEBSOCKET_PORT = this.websocket.split(':').at(-1)
		this.env.HTTP_API_PORT = this.http.split(':').at(-1)
		return this
	}

	get url() {
		return `ws://${this.websocket}`
	}

	// The next line logged from now on that matches. Several lines may come in one turn: a listener sees them all.
	async nextLine(pattern) {
		let listener
		const found = new Promise((resolve) => {
			listener = (line) => pattern.test(line) && resolve(line)
			this.on('line', listener)
		})
		try {
			return await within(timeout, `a log line like ${pattern}`, found)
		} finally {
			this.off('line', listener)
		}
	}

	logged(pattern) {
		return this.lines.filter((line) => pattern.test(line))
	}

	async stop() {
		if (this.child.exitCode !== null || this.child.signalCode !== null) return
		this.child.kill('SIGTERM')
		const [code, signal] = await within(timeout, 'leyden to stop', this.exited)
		if (code !== 0) throw new Error(`leyden stopped with ${signal ?? `exit ${code}`}`)
	}

	async restart() {
		await this.stop()
		await this.start()
	}

	// Kills the processes of one tool; returns how many there were.
	kill(tool, signal = 'SIGKILL') {
		const pids = this.pids(tool)
		for (const pid of pids) process.kill(pid, signal)
		return pids.length
	}

	pids(tool) {
		return childrenOf(this.child.pid).filter((child) => child.comm === tool).map((child) => child.pid)
	}

	// Without waiting: for the moment at which the test process itself goes away.
	killNow() {
		if (this.child?.exitCode === null && this.child.signalCode === null) {
			const tools = childrenOf(this.child.pid)
			this.child.kill('SIGKILL')
			for (const { pid } of tools) process.kill(pid, 'SIGKILL')
		}
	}

	token(userId, claims = {}) {
		const now = Math.floor(Date.now() / 1000)
		const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url')
		const payload = { user_id: userId, iat: now - 1, exp: now + 7200, ...claims }
		const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(payload)}`
		return `${signed}.${createHmac('sha256', this.key).update(signed).digest('base64url')}`
	}
}

function childrenOf(parent) {
	return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
		try {
			const [, comm, ppid] = readFileSync(`/proc/${pid}/stat`, 'utf8').match(/\((.*)\) \S (\d+)/s)
			return Number(ppid) === parent ? [{ pid: Number(pid), comm }] : []
		} catch {
			return [] // it has ended meanwhile
		}
	})
}

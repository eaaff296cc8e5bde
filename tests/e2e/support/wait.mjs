// How long the suites wait for what must happen; a slow machine or an instrumented build sets more.

export const timeout = Number(process.env.E2E_TIMEOUT_MS ?? 30_000)

export async function within(ms, what, promise) {
	let timer
	const late = new Promise((_, reject) => {
		timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms)
	})
	try {
		return await Promise.race([promise, late])
	} finally {
		clearTimeout(timer)
	}
}

// For what announces itself by no event: looks again every 50 ms.
export async function until(what, look) {
	const deadline = Date.now() + timeout
	for (;;) {
		const found = await look()
		if (found) return found
		if (Date.now() > deadline) throw new Error(`waited ${timeout} ms for ${what}`)
		await new Promise((resolve) => setTimeout(resolve, 50))
	}
}

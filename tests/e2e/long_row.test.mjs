// A row of some megabytes comes in many websocket frames: the clients put it together.

import { converge, createTables, electrifyTables, id, syncedClient } from './support/app.mjs'
import { scenario } from './support/world.mjs'

for (const version of ['0.5.0', '0.5.3'])
	scenario(`a long row: ${version}`, async (world) => {
		await world.database.exec(createTables)
		await world.database.exec(`INSERT INTO projects VALUES ('${id(1)}', 'short', NULL),
			('${id(2)}', 'long', repeat('a long text ', 500000)), ('${id(3)}', 'short, too', '')`)
		await world.database.exec(electrifyTables)
		const ann = await syncedClient(world, 'ann', { version })
		await converge(world, [ann])
	})

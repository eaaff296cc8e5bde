// A delete that another's write outlives: the row comes back to who deleted it, and so do the rows that came meanwhile
// and refer to it, for which the client had no place.

import { converge, createTables, electrifyTables, id, syncedClient } from './support/app.mjs'
import { scenario } from './support/world.mjs'

for (const version of ['0.5.0', '0.5.3'])
	scenario(`a row that is not deleted after all: ${version}`, async (world) => {
		const { database } = world
		await database.exec(createTables)
		await database.exec(`INSERT INTO projects VALUES ('${id(1)}', 'one', NULL)`)
		await database.exec(electrifyTables)
		const ann = await syncedClient(world, 'ann', { version })
		const bob = await syncedClient(world, 'bob', { version })
		const both = [ann, bob]
		await converge(world, both)

		await ann.offline()
		await ann.exec(['DELETE FROM projects WHERE id = ?', id(1)])
		await database.exec(`INSERT INTO tasks VALUES ('${id(11)}', '${id(1)}', 'from postgres', 1)`)
		await bob.exec(['INSERT INTO tasks VALUES (?, ?, ?, ?)', id(12), id(1), 'from bob', 2])
		await bob.echoed()
		await bob.exec(['UPDATE projects SET note = ? WHERE id = ?', 'still of use', id(1)])
		await bob.echoed()
		await ann.online()
		await converge(world, both)
	})

// The app that the scenarios are about: its tables in Postgres, what its clients know of them, and what agreement means.


export const tables = {
	projects: { fields: ['id', 'name', 'note'] },
	tasks: {
		fields: ['id', 'project_id', 'title', 'done'],
		parents: { project: ['project_id', 'projects', 'id'] },
	},
	comments: {
		fields: ['id', 'task_id', 'body'],
		parents: { task: ['task_id', 'tasks', 'id'] },
	},
}

export const createTables = `
	CREATE TABLE projects (id uuid PRIMARY KEY, name text, note text);
	CREATE TABLE tasks (id uuid PRIMARY KEY, project_id uuid REFERENCES projects, title text, done int4);`

export const electrifyTables = `
	SELECT electric.migration_version('20230900000001');
	CALL electric.electrify('projects');
	CALL electric.electrify('tasks');`

export const id = (n) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

// A client that holds the rows of both tables.
export async function syncedClient(world, name, options) {
	const client = await world.client(name, { tables, ...options })
	await client.migrated('tasks')
	await client.sync('tasks', { project: true })
	return client
}

// All local writes have come back, and every client holds the rows that Postgres holds.
export async function converge(world, clients, names = ['projects', 'tasks']) {
	for (const client of clients) await client.echoed()
	for (const name of names) {
		const rows = await world.database.rows(`SELECT * FROM ${name} ORDER BY id`)
		for (const client of clients) await client.waitFor(`SELECT * FROM ${name} ORDER BY id`, rows)
	}
	// A client compensates for rows of others that refer to a parent by a write of its own, which comes back in turn.
	for (const client of clients) await client.echoed()
}

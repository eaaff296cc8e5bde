// What an app's generated client code would hold about its tables: their names, columns and foreign keys.
//
//   { projects: { fields: ['id', 'name'] },
//     tasks:    { fields: ['id', 'project_id'], parents: { project: ['project_id', 'projects', 'id'] } } }

export function schemaOf(tables, { DbSchema, Relation }, z) {
	const nested = z.object({}).passthrough().optional()
	const anything = z.object({ select: nested, include: nested }).passthrough()
	const validators = Object.fromEntries([
		'modelSchema', 'createSchema', 'createManySchema', 'findUniqueSchema', 'findSchema', 'updateSchema',
		'updateManySchema', 'upsertSchema', 'deleteSchema', 'deleteManySchema',
	].map((name) => [name, anything]))

	const described = Object.fromEntries(Object.entries(tables).map(([name, { fields }]) =>
		[name, { fields, relations: [], ...validators }]))
	for (const [child, { parents = {} }] of Object.entries(tables)) {
		for (const [field, [column, parent, key]] of Object.entries(parents)) {
			const relation = `${child}_${field}`
			described[child].relations.push(new Relation(field, column, key, parent, relation, 'one'))
			described[parent].relations.push(new Relation(relation, '', '', child, relation, 'many'))
		}
	}
	return new DbSchema(described, [])
}

// What Postgres refuses is set aside, its author ends with what Postgres holds, and everybody else goes on.

import assert from 'node:assert/strict'
import { converge, createTables, electrifyTables, id, syncedClient } from './support/app.mjs'
import { until } from './support/wait.mjs'
import { scenario } from './support/world.mjs'

for (const version of ['0.5.0', '0.5.3'])
	scenario(`refused writes come back as Postgres has the rows: ${version}`, async (world) => {
		const { database } = world
		await database.exec(createTables)
		await database.exec(`
			INSERT INTO projects VALUES ('${id(1)}', 'one', NULL), ('${id(2)}', 'two', NULL);
			INSERT INTO tasks VALUES ('${id(11)}', '${id(1)}', 'first', 0), ('${id(12)}', '${id(1)}', 'second', 1);`)
		await database.exec(electrifyTables)
		// Rules that clients know nothing of.
		await database.exec(`
			ALTER TABLE tasks ADD CONSTRAINT short CHECK (length(title) < 30);
			ALTER TABLE tasks ADD CONSTRAINT once UNIQUE (done);
			ALTER TABLE tasks ALTER COLUMN title SET NOT NULL;
			CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF new.name = 'forbidden' THEN RAISE EXCEPTION 'forbidden is forbidden'; END IF; RETURN new; END $$;
			CREATE TRIGGER forbid BEFORE INSERT OR UPDATE ON projects FOR EACH ROW EXECUTE FUNCTION forbid();
			ALTER TABLE projects ENABLE ALWAYS TRIGGER forbid;`)
		const ann = await syncedClient(world, 'ann', { version })
		const bob = await syncedClient(world, 'bob', { version })
		const both = [ann, bob]
		await converge(world, both)

		const refused = async (sqlstate, ...statements) => {
			await ann.exec(...statements)
			await bob.exec(['UPDATE projects SET note = ? WHERE id = ?', `after ${sqlstate}`, id(2)])
			await converge(world, both)
			assert.deepEqual(
				await database.rows('SELECT sqlstate FROM electric.rejected_writes ORDER BY id DESC LIMIT 1'), [{ sqlstate }])
		}
		// check_violation: an update goes back, and the whole transaction with it
		await refused('23514', ['UPDATE tasks SET title = ? WHERE id = ?', 'far too long for the rule of Postgres', id(11)],
			['UPDATE projects SET note = ? WHERE id = ?', 'with it', id(1)])
		// not_null_violation: an insert goes away
		await refused('23502', ['INSERT INTO tasks VALUES (?, ?, ?, ?)', id(13), id(1), null, 3])
		// unique_violation
		await refused('23505', ['INSERT INTO tasks VALUES (?, ?, ?, ?)', id(14), id(1), 'the same', 1])
		// a trigger that raises
		await refused('P0001', ['UPDATE projects SET name = ? WHERE id = ?', 'forbidden', id(1)])
		// foreign_key_violation: the delete of a parent is taken back
		await ann.offline()
		await database.exec(`INSERT INTO tasks VALUES ('${id(15)}', '${id(2)}', 'child', 5)`)
		await ann.exec(['DELETE FROM projects WHERE id = ?', id(2)])
		await ann.online()
		// It is refused before Bob writes: a write to the parent would keep it alive, and there would be nothing to refuse.
		await until('the refusal', async () => (await database.rows(
			"SELECT FROM electric.rejected_writes WHERE sqlstate = '23503'")).length > 0)
		await refused('23503')
		// Written later on the same row, and accepted: that stays.
		await ann.exec(['UPDATE tasks SET title = ? WHERE id = ?', 'again far too long for the rule of Postgres', id(12)])
		// What the client has not looked at yet becomes one transaction with what follows.
		await ann.waitFor('SELECT count(*) AS unseen FROM _electric_oplog WHERE timestamp IS NULL', [{ unseen: 0 }])
		await ann.exec(['UPDATE tasks SET title = ? WHERE id = ?', 'short enough', id(12)])
		await converge(world, both)
		assert.deepEqual(await database.rows(`SELECT title FROM tasks WHERE id = '${id(12)}'`), [{ title: 'short enough' }])
	})

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { purge, purgeCode } from '../../../agent/purge.ts';

function place(t: ExecutionContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-purge-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  mkdirSync(join(dir, 'made/state'), { recursive: true });
  const ours = ['state.json', 'state.json.damaged', '.state.json.tartan-new', 'cluster.jsonl', 'lock'];
  for (const name of ours) writeFileSync(join(dir, 'made/state', name), '');
  return dir;
}

test('all that tartan wrote goes, and the directories that it made', async (t) => {
  const dir = place(t);
  mkdirSync(join(dir, 'run'));
  const made = [join(dir, 'made'), join(dir, 'made/state'), join(dir, 'run'), join(dir, 'never')];
  t.regex(await purge(join(dir, 'made/state'), made), /^removed/);
  t.deepEqual(readdirSync(dir), []);
});

test("what is somebody else's stays, with the directories around it", async (t) => {
  const dir = place(t);
  writeFileSync(join(dir, 'made/state/notes'), '');
  mkdirSync(join(dir, 'run'));
  writeFileSync(join(dir, 'run/theirs'), '');
  const said = await purge(join(dir, 'made/state'), [join(dir, 'made'), join(dir, 'run')]);
  t.regex(said, /^left .*notes/);
  t.deepEqual(readdirSync(join(dir, 'made/state')), ['notes']);
  t.true(existsSync(join(dir, 'run/theirs')));
});

test('directories that were there before tartan stay', async (t) => {
  const dir = place(t);
  await purge(join(dir, 'made/state'), []);
  t.deepEqual(readdirSync(dir), ['made']);
  t.deepEqual(readdirSync(join(dir, 'made')), []);
});

test("V8's code goes, half-written too, and its directory if nothing else is there", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-purge-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  for (const name of ['main.0a1b2c3d.code', 'main.0a1b2c3d.code.4711', 'notes.code'])
    writeFileSync(join(dir, name), '');
  await purgeCode(dir);
  t.deepEqual(readdirSync(dir), ['notes.code']);
  rmSync(join(dir, 'notes.code'));
  await purgeCode(dir);
  t.false(existsSync(dir));
  await t.notThrowsAsync(purgeCode(dir));
});

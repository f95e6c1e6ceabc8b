import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readTextFile, writeFileAtomically } from '../../../agent/atomic-file.ts';

function directory(t: ExecutionContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-file-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  return dir;
}

const modeOf = (path: string): number => statSync(path).mode & 0o777;

test('directories are made on the way, and the file is readable by all whatever the umask', async (t) => {
  const path = join(directory(t), 'a/b/file');
  const umask = process.umask(0o077);
  t.teardown(() => process.umask(umask));
  t.true(await writeFileAtomically(path, 'one\n'));
  t.is(readFileSync(path, 'utf8'), 'one\n');
  t.is(modeOf(path), 0o644);
});

test('an existing file keeps its permission bits', async (t) => {
  const path = join(directory(t), 'file');
  writeFileSync(path, 'old');
  chmodSync(path, 0o640);
  t.true(await writeFileAtomically(path, 'new'));
  t.is(modeOf(path), 0o640);
});

test('an unchanged file is not written again', async (t) => {
  const path = join(directory(t), 'file');
  await writeFileAtomically(path, 'same');
  const { ino, mtimeNs } = statSync(path, { bigint: true });
  t.false(await writeFileAtomically(path, 'same'));
  const after = statSync(path, { bigint: true });
  t.deepEqual([after.ino, after.mtimeNs], [ino, mtimeNs]);
});

test('a change is another file in its place: who has the old one open reads it to its end', async (t) => {
  const path = join(directory(t), 'file');
  await writeFileAtomically(path, 'one');
  const { ino } = statSync(path);
  await writeFileAtomically(path, 'two');
  t.not(statSync(path).ino, ino);
});

test('what a crash left of an earlier attempt is cleared away, and nothing is left beside', async (t) => {
  const dir = directory(t);
  writeFileSync(join(dir, '.file.tartan-new'), 'ha');
  await writeFileAtomically(join(dir, 'file'), 'whole');
  t.deepEqual(readdirSync(dir), ['file']);
});

test('where it can not be written, the error says so by its code and the old file stays', async (t) => {
  const dir = directory(t);
  writeFileSync(join(dir, 'file'), 'x');
  await t.throwsAsync(writeFileAtomically(join(dir, 'file/below'), 'y'), { code: 'PERMISSION' });
  mkdirSync(join(dir, 'taken/full'), { recursive: true });
  await t.throwsAsync(writeFileAtomically(join(dir, 'taken'), 'y'), { code: 'PERMISSION' });
  t.deepEqual(readdirSync(dir).sort(), ['file', 'taken']);
});

test('an absent file is no failure, an unreadable one is', async (t) => {
  const dir = directory(t);
  t.is(await readTextFile(join(dir, 'none')), undefined);
  await t.throwsAsync(readTextFile(dir), { code: 'PERMISSION' });
});

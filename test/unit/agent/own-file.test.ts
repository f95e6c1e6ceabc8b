import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { damageProblem, readOwnFile, setAside } from '../../../agent/own-file.ts';

function fileIn(t: ExecutionContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-own-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  return join(dir, 'state.json');
}

test('what we wrote is read, and no file is no damage', async (t) => {
  const path = fileIn(t);
  t.is(await readOwnFile(path, 10), undefined);
  writeFileSync(path, 'text', { mode: 0o600 });
  t.deepEqual(await readOwnFile(path, 10), { text: 'text' });
});

type Odd = readonly [what: string, make: (path: string) => void, reason: RegExp];

/** An empty file, changed. */
function made(change: (path: string) => void): (path: string) => void {
  return (path) => {
    writeFileSync(path, '');
    change(path);
  };
}

const isRoot = process.geteuid?.() === 0;
const foreign: Odd = ['one of another user', made((path) => chownSync(path, 65_534, 65_534)), /belongs to user 65534/];
const ODD: readonly Odd[] = [
  ['a directory', (path) => mkdirSync(join(path, 'more'), { recursive: true }), /no file/],
  ['a symbolic link', (path) => symlinkSync('/etc/hostname', path), /ELOOP/],
  ['a pipe, which would block', (path) => execFileSync('mkfifo', [path]), /no file/],
  ['a gigabyte', made((path) => truncateSync(path, 2 ** 30)), /1073741824 bytes, more than 10/],
  ['one that others may write to', made((path) => chmodSync(path, 0o622)), /others may write/],
  ...(isRoot ? [foreign] : []),
];
for (const [what, make, reason] of ODD) {
  test(`not believed, and moved aside: ${what}`, async (t) => {
    const path = fileIn(t);
    make(path);
    const found = await readOwnFile(path, 10);
    const problem = found && 'problem' in found ? found.problem : '';
    t.regex(problem, reason);
    const damage = await setAside(path, problem);
    t.deepEqual(damage, { file: path, problem, keptAs: `${path}.damaged` });
    t.is(await readOwnFile(path, 10), undefined);
    // Once more, in place of the first: that may have been a directory.
    make(path);
    t.is((await setAside(path, problem)).keptAs, `${path}.damaged`);
  });
}

test('told until it was cleared away', async (t) => {
  const path = fileIn(t);
  writeFileSync(path, 'half');
  const damage = await setAside(path, 'it is cut off');
  t.is(damageProblem(damage), `${path} was not believed (it is cut off); look at ${path}.damaged, then remove it`);
  rmSync(`${path}.damaged`);
  t.is(damageProblem(damage), undefined);
});

test('what can not be moved is said', async (t) => {
  const path = join(fileIn(t), 'nowhere');
  const damage = await setAside(path, 'odd');
  t.false(existsSync(path));
  t.regex(damageProblem(damage) ?? '', /can't be moved: remove it/);
});

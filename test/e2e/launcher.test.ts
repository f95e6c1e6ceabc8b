/** What starts the program, with a program that does nothing: what becomes of V8's compiled code. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { bundledProgram } from '../support/bundle.ts';

/** Ends after the launcher has kept what it keeps. */
const PROGRAM = `// digest
const greet = (name) => 'hello ' + name;
process.stdout.write(greet(process.argv.slice(2).join(' ')));
setTimeout(() => {}, process.argv[2] === 'run' ? 7000 : 0);
`;

interface Installed {
  readonly directory: string;
  readonly cache: string;
}

function install(t: ExecutionContext): Installed {
  const root = mkdtempSync(join(tmpdir(), 'tartan-launcher-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const [directory, cache] = [join(root, 'bundle'), join(root, 'cache')];
  for (const path of [directory, cache]) mkdirSync(path);
  copyFileSync(bundledProgram(), join(directory, 'tartan.cjs'));
  writeFileSync(join(directory, 'main.cjs'), PROGRAM);
  return { directory, cache };
}

/** @returns what it said, whole: on stdout and on stderr */
function start({ directory, cache }: Installed, command: string, flags: readonly string[] = []): Promise<string> {
  const env = { CACHE_DIRECTORY: cache };
  const child = spawn(process.execPath, [...flags, join(directory, 'tartan.cjs'), command], { env });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => resolve(said));
  });
}

function kept(place: string): readonly string[] {
  return readdirSync(place)
    .filter((name) => name.endsWith('.code'))
    .map((name) => join(place, name));
}

test('an agent keeps the code, the next one takes it; what is damaged is made anew', async (t) => {
  const installed = install(t);
  t.is(await start(installed, 'run'), 'hello run');
  const [path = '', ...others] = kept(installed.directory);
  t.deepEqual([others, kept(installed.cache)], [[], []]);
  const [first, content] = [statSync(path), readFileSync(path)];
  t.is(await start(installed, 'run'), 'hello run');
  t.is(statSync(path).ino, first.ino);
  writeFileSync(path, content.fill(7, 200, 300));
  t.is(await start(installed, 'run'), 'hello run');
  t.not(statSync(path).ino, first.ino);
  t.deepEqual(kept(installed.directory), [path]);
});

test('a command that is over soon keeps nothing', async (t) => {
  const installed = install(t);
  t.is(await start(installed, 'version'), 'hello version');
  t.deepEqual(kept(installed.directory), []);
});

test('where the program lies, others may write: the cache directory has it', async (t) => {
  const installed = install(t);
  chmodSync(installed.directory, 0o1777);
  t.is(await start(installed, 'run'), 'hello run');
  t.is(kept(installed.cache).length, 1);
  chmodSync(installed.cache, 0o1777);
  t.is(await start(installed, 'run', ['--stack-size=900']), 'hello run');
  t.deepEqual([kept(installed.directory).length, kept(installed.cache).length], [0, 1]);
});

test('other flags have code of their own, and another program its own', async (t) => {
  const installed = install(t);
  const both = [start(installed, 'run'), start(installed, 'run', ['--stack-size=900'])];
  t.deepEqual(await Promise.all(both), ['hello run', 'hello run']);
  t.is(kept(installed.directory).length, 2);
  // As long as the first: V8 itself would not see a difference.
  writeFileSync(join(installed.directory, 'main.cjs'), PROGRAM.replace('digest', 'Digest').replace('hello', 'HELLO'));
  t.is(await start(installed, 'run'), 'HELLO run');
});

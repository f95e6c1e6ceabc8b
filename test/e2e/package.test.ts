/** The package as an operator installs it: packed from the repository, with its dependencies, and nothing else. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { inRepository, readRepository } from '../support/repository.ts';

function npm(...args: readonly string[]): string {
  return execFileSync('npm', args, { cwd: inRepository('.'), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

test('packed and installed, the command runs, and every file that the installation names is there', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tartan-package-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const tarball = npm('pack', '--pack-destination', directory).trim().split('\n').at(-1) ?? '';
  npm('install', '--global', '--prefix', directory, join(directory, tarball));
  const version = execFileSync(join(directory, 'bin', 'tartan'), ['version'], { encoding: 'utf8' }).trim();
  t.is(version, JSON.parse(readRepository('package.json')).version);
  const deploy = join(directory, 'lib/node_modules/tartan/deploy');
  const named = [...readRepository('deploy/README.md').matchAll(/\$D\/(\S+)/g)].map(([, path = '']) => path);
  t.true(named.length > 4);
  for (const path of named) t.true(existsSync(join(deploy, path)), path);
  t.false(existsSync(join(deploy, 'bootstrap.mjs')));
});

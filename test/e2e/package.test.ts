/** The package as an operator installs it: packed from the repository, with its dependencies, and nothing else. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { type Agent, PREFIX, startAgent, subnetOf } from '../support/agent.ts';
import { createLab } from '../support/hosts.ts';
import { inRepository, readRepository } from '../support/repository.ts';
import { needs } from '../support/require.ts';

function npm(...args: readonly string[]): string {
  return execFileSync('npm', args, { cwd: inRepository('.'), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

test('packed and installed, the agent runs, and every file that the installation names is there', async (t) => {
  if (!needs(t, 'lab')) return;
  const directory = mkdtempSync(join(tmpdir(), 'tartan-package-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const tarball = npm('pack', '--pack-destination', directory).trim().split('\n').at(-1) ?? '';
  npm('install', '--global', '--prefix', directory, join(directory, tarball));
  const version = execFileSync(join(directory, 'bin', 'tartan'), ['version'], { encoding: 'utf8' }).trim();
  t.is(version, JSON.parse(readRepository('package.json')).version);
  t.is(readdirSync(join(directory, 'lib/node_modules/tartan/dist')).join(), 'bundle');
  const lab = await createLab({ hosts: 1 });
  t.teardown(() => lab.destroy());
  await lab.etcd.put(`${PREFIX}/config`, '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}');
  const installed: Agent = { name: 'tartan', argv: [join(directory, 'bin', 'tartan'), 'run'] };
  const agent = startAgent(lab, lab.host(1), installed);
  await subnetOf(lab.host(1), agent);
  await agent.stop();
  const deploy = join(directory, 'lib/node_modules/tartan/deploy');
  const named = [...readRepository('deploy/README.md').matchAll(/\$D\/(\S+)/g)].map(([, path = '']) => path);
  t.true(named.length > 4);
  for (const path of named) t.true(existsSync(join(deploy, path)), path);
  t.false(existsSync(join(deploy, 'bootstrap.mjs')));
});

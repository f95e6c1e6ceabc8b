/** kill -9 at any moment of writing leaves the leases of before or of after, whole. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { loadCluster } from '../../../agent/cluster-file.ts';

const MODULE = new URL('../../../agent/cluster-file.js', import.meta.url).href;
const ROUNDS = 12;

/** Writes 2000 leases again and again, each time at another revision. */
const WRITER = `
const { saveCluster } = await import(${JSON.stringify(MODULE)});
const [dir] = process.argv.slice(1);
const value = '{"PublicIP":"192.0.2.1","PublicIPv6":null}';
for (let revision = 1; ; revision++) {
  const leases = Array.from({ length: 2000 }, (_, i) =>
    ({ key: '/p/subnets/10.' + (i >> 8) + '.' + (i & 255) + '.0-24', value, createRevision: 1, modRevision: revision, etcdLease: '7' }));
  await saveCluster(dir, '/p', { clusterId: '1', revision, savedAt: 1, config: '{}', leases });
  if (revision === 1) process.stdout.write('written\\n');
}
`;

test('killed while it writes', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-crash-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  for (let round = 0; round < ROUNDS; round++) {
    const writer = spawn(process.execPath, ['--input-type=module', '-e', WRITER, dir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(writer.stdout, 'data');
    await new Promise((resolve) => setTimeout(resolve, (round * 7) % 40));
    writer.kill('SIGKILL');
    await once(writer, 'exit');
    const read = await loadCluster(dir, '/p');
    t.true(read.ok, read.ok ? '' : read.reason);
    if (!read.ok) continue;
    const { revision, kvs } = read.cluster;
    t.deepEqual([kvs.length, kvs.every((kv) => kv.modRevision === revision)], [2000, true]);
  }
  // What was begun has one name, so that it does not pile up.
  t.true(readdirSync(dir).every((name) => name === 'cluster.jsonl' || name === '.cluster.jsonl.tartan-new'));
});

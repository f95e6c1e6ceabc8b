import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import {
  type ClusterImage,
  clusterFile,
  formatCluster,
  loadCluster,
  parseCluster,
  saveCluster,
} from '../../../agent/cluster-file.ts';
import { decodeLease } from '../../../leases/codec.ts';
import type { StoredLease } from '../../../leases/lease.ts';

const PREFIX = '/coreos.com/network';
const FACTS = {
  clusterId: '14841639068965178418',
  revision: 12,
  savedAt: 1_800_000_000_000,
  config: '{"Network":"…"}',
};

function stored(n: number): StoredLease {
  const value = `{"PublicIP":"192.0.${n >> 8}.${n & 255}","PublicIPv6":null,"BackendType":"host-gw"}`;
  const key = `${PREFIX}/subnets/10.${n >> 8}.${n & 255}.0-24`;
  const decoded = decodeLease(PREFIX, { key, value, createRevision: n, modRevision: n + 1, lease: `${n + 7}` });
  if (!decoded.ok) throw new TypeError(decoded.reason);
  return decoded.lease;
}

const image = (count: number): ClusterImage => ({
  ...FACTS,
  leases: Array.from({ length: count }, (_, i) => stored(i + 1)),
});
const textOf = (count: number): string => [...formatCluster(PREFIX, image(count))].join('');

function directory(t: ExecutionContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-cluster-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  return dir;
}

for (const count of [0, 1, 249, 250, 251, 1000]) {
  test(`what is written is read again: ${count} leases`, (t) => {
    const kvs = image(count).leases.map(({ key, value, createRevision, modRevision, etcdLease }) => {
      return { key, value, createRevision, modRevision, lease: etcdLease };
    });
    t.deepEqual(parseCluster(PREFIX, textOf(count)), { ok: true, cluster: { ...FACTS, kvs } });
  });
}

test('a file cut off anywhere is not believed', (t) => {
  const text = textOf(3);
  for (let length = 0; length < text.length; length++) {
    t.false(parseCluster(PREFIX, text.slice(0, length)).ok, `cut at ${length}`);
  }
});

test('nor one of which a line is missing, doubled, or moved', (t) => {
  const lines = textOf(4).split('\n');
  for (let i = 0; i < lines.length - 1; i++) {
    t.false(parseCluster(PREFIX, lines.toSpliced(i, 1).join('\n')).ok);
    t.false(parseCluster(PREFIX, lines.toSpliced(i, 0, lines[i] ?? '').join('\n')).ok);
  }
  t.false(parseCluster(PREFIX, lines.toSpliced(1, 2, lines[2] ?? '', lines[1] ?? '').join('\n')).ok);
});

test('nor one with any other byte', (t) => {
  const good = Buffer.from(textOf(3));
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bytes = Buffer.from(good);
      bytes[at] = (bytes[at] ?? 0) ^ flip;
      t.false(parseCluster(PREFIX, bytes.toString()).ok);
    }),
  );
});

test('nor anything else that may stand there; nothing throws', (t) => {
  const any = fc.oneof(fc.string(), fc.json(), fc.string({ unit: 'binary' }), fc.constant('\0'.repeat(999)));
  fc.assert(fc.property(any, (text) => t.false(parseCluster(PREFIX, text).ok)));
});

/** As if we had written it. */
function sealed(...lines: readonly unknown[]): string {
  const body = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  return `${body}${JSON.stringify({ sha256: createHash('sha256').update(body).digest('hex') })}\n`;
}

const HEADER = { version: 1, prefix: PREFIX, ...FACTS };
const FOREIGN: readonly [string, string][] = [
  ['no header', sealed()],
  ['a list', sealed([])],
  ['another version', sealed({ ...HEADER, version: 2 })],
  ['another prefix', sealed({ ...HEADER, prefix: '/other' })],
  ['no store', sealed({ ...HEADER, clusterId: 7 })],
  ['no config', sealed({ ...HEADER, config: undefined })],
  ['a lease that is none', sealed(HEADER, { key: 'k', value: 'v' })],
  ['a line that is no object', sealed(HEADER, null)],
];
for (const [what, text] of FOREIGN) {
  test(`nor a foreign one, whole as it may be: ${what}`, (t) => {
    t.true(parseCluster(PREFIX, sealed(HEADER)).ok);
    t.false(parseCluster(PREFIX, text).ok);
  });
}

test('saved for root alone; what is damaged is moved aside and told once', async (t) => {
  const dir = directory(t);
  t.false((await loadCluster(dir, PREFIX)).ok);
  await saveCluster(dir, PREFIX, image(300));
  t.is(statSync(clusterFile(dir)).mode & 0o777, 0o600);
  t.true((await loadCluster(dir, PREFIX)).ok);
  const half = readFileSync(clusterFile(dir), 'utf8').slice(0, 5_000);
  writeFileSync(clusterFile(dir), half);
  const read = await loadCluster(dir, PREFIX);
  t.is(read.ok ? undefined : read.damage?.keptAs, `${clusterFile(dir)}.damaged`);
  t.is(readFileSync(`${clusterFile(dir)}.damaged`, 'utf8'), half);
  const again = await loadCluster(dir, PREFIX);
  t.true(!again.ok && again.damage === undefined);
});

test('leases that would fill the disk are not written; what was there stays', async (t) => {
  const dir = directory(t);
  await saveCluster(dir, PREFIX, image(2));
  const big = { ...stored(1), value: 'x'.repeat(1 << 20) };
  await t.throwsAsync(saveCluster(dir, PREFIX, { ...FACTS, leases: Array.from({ length: 65 }, () => big) }), {
    code: 'PERMISSION',
  });
  const read = await loadCluster(dir, PREFIX);
  t.is(read.ok && read.cluster.kvs.length, 2);
});

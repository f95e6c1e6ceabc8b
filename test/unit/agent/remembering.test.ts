import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Cluster } from '../../../agent/cluster.ts';
import type { ClusterImage } from '../../../agent/cluster-file.ts';
import { Memory } from '../../../agent/memory.ts';
import { keepRemembering } from '../../../agent/remembering.ts';
import { silentLog } from '../../../config/log.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { FakeEtcd } from '../../fakes/etcd.ts';

const PREFIX = '/coreos.com/network';
const POLICY = { ownKey: undefined, judge: () => ({ identities: [] }) };

const lease = (n: number): [string, string] => [
  `${PREFIX}/subnets/10.5.${n}.0-24`,
  `{"PublicIP":"192.0.2.${n}","PublicIPv6":null}`,
];

async function scene(t: ExecutionContext, tookMs = 0) {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-remembering-'));
  const clock = new VirtualClock();
  const etcd = new FakeEtcd(clock);
  const stop = new AbortController();
  t.teardown(() => {
    stop.abort();
    etcd.stop();
    rmSync(dir, { recursive: true });
  });
  etcd.put(...lease(1));
  const memory = await Memory.open(dir, PREFIX, silentLog);
  const images: ClusterImage[] = [];
  let isFull = false;
  memory.keep = async (image) => {
    images.push(image);
    if (tookMs > 0) await clock.sleep(tookMs, new AbortController().signal);
    return !isFull;
  };
  const store = etcd.connect();
  const cluster = new Cluster({ store, prefix: PREFIX, clock, log: silentLog, known: undefined });
  cluster.follow(stop.signal).catch(() => undefined);
  cluster.sweep(stop.signal).catch(() => undefined);
  cluster.serve(POLICY, { onPeers: () => undefined, onOwnKey: () => undefined, onConfig: () => undefined });
  keepRemembering({ cluster, memory, clock }, () => 'config', stop.signal).catch(() => undefined);
  const fill = (full: boolean): void => {
    isFull = full;
  };
  return { clock, etcd, store, images, stop, fill };
}

test('soon after the first list, and soon after a change in a quiet cluster', async (t) => {
  const { clock, etcd, images } = await scene(t);
  await clock.advance(1_100);
  t.deepEqual(
    images.map(({ config, leases }) => [config, leases.map(({ key }) => key)]),
    [['config', [lease(1)[0]]]],
  );
  await clock.advance(600_000);
  t.is(images.length, 1);
  etcd.put(...lease(2));
  await clock.advance(1_100);
  t.deepEqual([images.length, images[1]?.leases.length], [2, 2]);
  t.true((images[1]?.savedAt ?? 0) > (images[0]?.savedAt ?? 0) + 600_000);
});

for (const [what, tookMs, restMs] of [
  ['once a second', 5, 1_005],
  ['more rarely where that takes longer', 50, 5_050],
  ['once a minute at least, however long it takes', 2_000, 62_000],
] as const)
  test(`while it goes on changing: ${what}`, async (t) => {
    const { clock, etcd, images } = await scene(t, tookMs);
    for (let second = 0; second < 300; second++) {
      etcd.put(...lease((second % 200) + 2));
      await clock.advance(1_000);
    }
    const [last, before] = [images.at(-1)?.savedAt ?? 0, images.at(-2)?.savedAt ?? 0];
    t.is(last - before, restMs);
  });

test('what could not be written is tried again', async (t) => {
  const { clock, images, fill } = await scene(t);
  fill(true);
  await clock.advance(10_000);
  t.true(images.length > 1);
  fill(false);
  await clock.advance(120_000);
  const { length } = images;
  await clock.advance(600_000);
  t.is(images.length, length);
});

test('at the end what is new since; nothing of a store that is away', async (t) => {
  const { clock, etcd, images, stop } = await scene(t);
  await clock.advance(3_000);
  etcd.put(...lease(2));
  await clock.advance(10);
  t.is(images.length, 1);
  stop.abort();
  await clock.advance(10);
  t.is(images.at(-1)?.leases.length, 2);
});

test('a store that went back is not written down before it has settled', async (t) => {
  const { clock, etcd, images } = await scene(t);
  await clock.advance(3_000);
  const backup = etcd.backup();
  etcd.put(...lease(2));
  await clock.advance(3_000);
  t.is(images.length, 2);
  etcd.restore(backup);
  await clock.advance(50_000);
  t.is(images.length, 2);
  await clock.advance(60_000);
  t.is(images.length, 3);
});

import test, { type ExecutionContext } from 'ava';
import { Cluster } from '../../../agent/cluster.ts';
import { type Joined, join } from '../../../agent/joining.ts';
import type { DeviceMacs } from '../../../backends/backend.ts';
import { parseCommandLine } from '../../../config/command-line.ts';
import type { ErrorCode } from '../../../config/errors.ts';
import { silentLog } from '../../../config/log.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { FakeEtcd } from '../../fakes/etcd.ts';
import { hostKernel } from '../backends/rig.ts';

const PREFIX = '/coreos.com/network';
const NOTHING = { held: undefined, cluster: async () => ({ ok: false as const, reason: 'there is none' }) };
const OTHER = '{"PublicIP":"192.0.2.9","PublicIPv6":null,"BackendType":"host-gw"}';

/** A host that joins, and what it says that it waits for. `meanwhile`: as soon as it has written its device down. */
function scene(t: ExecutionContext, config: string | undefined, meanwhile: (etcd: FakeEtcd) => void = () => undefined) {
  const clock = new VirtualClock();
  const etcd = new FakeEtcd(clock);
  if (config !== undefined) etcd.put(`${PREFIX}/config`, config);
  const stop = new AbortController();
  t.teardown(() => {
    stop.abort();
    etcd.stop();
  });
  const parsed = parseCommandLine([], {});
  if (!parsed.ok) throw new TypeError(parsed.problems.join('; '));
  const store = etcd.connect();
  const kernel = hostKernel();
  const cluster = new Cluster({ store, prefix: PREFIX, clock, log: silentLog, known: undefined });
  const said: (ErrorCode | undefined)[] = [];
  const adoptions: boolean[] = [];
  let made: DeviceMacs = new Map();
  let joined: Joined | undefined;
  cluster.follow(stop.signal).catch(() => undefined);
  const owner = { node: 'n1', name: 'host1', claim: '0'.repeat(32) };
  join({
    ...{
      options: parsed.invocation.options,
      store,
      kernel,
      cluster,
      clock,
      log: silentLog,
      signal: stop.signal,
      owner,
    },
    ...{ previous: undefined, macs: () => made, remembered: NOTHING },
    rememberDevices: async (devices, isAdopted) => {
      made = new Map([...made, ...devices]);
      adoptions.push(isAdopted);
      meanwhile(etcd);
    },
    onPhase: (_phase, _problem, code) => said.push(code),
  }).then(
    (held) => {
      joined = held;
    },
    (error: unknown) => stop.signal.aborted || t.fail(String(error)),
  );
  return { clock, etcd, kernel, adoptions, code: () => said.at(-1), joined: () => joined };
}

const HOST_GW = '{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}';
const small = (last: number): string =>
  JSON.stringify({
    ...{ Network: '10.5.0.0/16', SubnetMin: '10.5.1.0', SubnetMax: `10.5.${last}.0` },
    Backend: { Type: 'host-gw' },
  });

test('no config, an unusable one, a good one: each wait has its code, and ends with what it waits for', async (t) => {
  const { clock, etcd, code, joined } = scene(t, undefined);
  await clock.advance(100);
  t.is(code(), 'CONFIG_MISSING');
  etcd.put(`${PREFIX}/config`, '{}');
  await clock.advance(100);
  t.is(code(), 'CONFIG_INVALID');
  etcd.put(`${PREFIX}/config`, HOST_GW);
  t.true(await clock.advanceUntil(() => joined() !== undefined, 5_000));
});

test('a range that is full is left as soon as the config has room', async (t) => {
  const { clock, etcd, code, joined } = scene(t, small(1));
  etcd.put(`${PREFIX}/subnets/10.5.1.0-24`, OTHER);
  await clock.advance(1_000);
  t.is(code(), 'RANGE_EXHAUSTED');
  etcd.put(`${PREFIX}/config`, small(2));
  t.true(await clock.advanceUntil(() => joined() !== undefined, 2_000));
  t.is(joined()?.held.subnet.toString(), '10.5.2.0/24');
});

test('what the host lacks for the config is looked at again, without another config', async (t) => {
  const vxlan = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
  const { clock, kernel, code, joined } = scene(t, vxlan);
  kernel.tables.changeLink('eth0', { mtuBytes: 100 });
  await clock.advance(1_000);
  t.is(code(), 'CONFIG_INVALID');
  kernel.tables.changeLink('eth0', { mtuBytes: 1500 });
  t.true(await clock.advanceUntil(() => joined() !== undefined, 70_000));
});

test('a lease taken over from a flanneld is told, whoever made the device', async (t) => {
  const { clock, etcd, adoptions, joined } = scene(t, HOST_GW);
  const theirs = '{"PublicIP":"192.168.77.10","PublicIPv6":null,"BackendType":"host-gw"}';
  etcd.put(`${PREFIX}/subnets/10.5.7.0-24`, theirs);
  t.true(await clock.advanceUntil(() => joined() !== undefined, 60_000));
  t.is(joined()?.held.subnet.toString(), '10.5.7.0/24');
  t.deepEqual(adoptions, [true]);
});

test("a claim that is lost to another host finds the device that it made itself, not a flanneld's", async (t) => {
  const two = '{"Network":"10.5.0.0/16","SubnetMin":"10.5.1.0","SubnetMax":"10.5.2.0","Backend":{"Type":"vxlan"}}';
  const take = (subnet: string) => (etcd: FakeEtcd) => void etcd.put(`${PREFIX}/subnets/${subnet}-24`, OTHER);
  const rounds = ['10.5.1.0', '10.5.2.0'].map((lost) => scene(t, two, take(lost)));
  for (const { clock, joined } of rounds) t.true(await clock.advanceUntil(() => joined() !== undefined, 60_000));
  t.true(rounds.some(({ joined }) => joined()?.transactions === 2));
  t.deepEqual(
    rounds.map(({ adoptions }) => adoptions),
    [[false], [false]],
  );
});

test('a device that another process holds is waited for, and said', async (t) => {
  const { clock, kernel, code, joined } = scene(t, '{"Network":"10.5.0.0/16","Backend":{"Type":"udp"}}');
  const tun = { isTap: false, isPersistent: false, isMultiQueue: false };
  kernel.tables.addDevice('flannel0', { type: 'tun', tun });
  await clock.advance(60_000);
  t.is(code(), 'KERNEL');
  t.is(joined(), undefined);
  kernel.tables.deleteLink('flannel0');
  t.true(await clock.advanceUntil(() => joined() !== undefined, 5_000));
  t.deepEqual([...(joined()?.macs ?? [])], [['flannel0', undefined]]);
});

test('a kernel without vxlan is no hindrance: the packets are carried in user space', async (t) => {
  const { clock, kernel, joined } = scene(t, '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}');
  kernel.makesVxlan = false;
  t.true(await clock.advanceUntil(() => joined() !== undefined, 5_000));
  t.truthy(joined()?.backend.userSpace);
  t.regex(joined()?.backend.note ?? '', /makes no vxlan devices/);
  t.is(kernel.tables.links.get('flannel.1')?.type, 'tun');
});

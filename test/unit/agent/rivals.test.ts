import test from 'ava';
import { watchRivals } from '../../../agent/rivals.ts';
import { type AgentMemory, freshMemory } from '../../../agent/state-file.ts';
import { Directory } from '../../../leases/directory.ts';
import type { KeyValue } from '../../../leases/store.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { ip } from '../../support/addresses.ts';

const PREFIX = '/coreos.com/network';
const SELF = { node: 'n1', claim: 'c1', publicIp: ip('192.0.2.1'), publicIp6: undefined };
const OWN = `${PREFIX}/subnets/10.5.1.0-24`;

function leaseAt(subnet: string, publicIp: string, lease: string): KeyValue {
  const value = `{"PublicIP":"${publicIp}","PublicIPv6":null}`;
  return { key: `${PREFIX}/subnets/${subnet}`, value, createRevision: 1, modRevision: 1, lease };
}

test('a reservation for this host is told, and the next start looks at all leases; once it is gone neither', async (t) => {
  const clock = new VirtualClock();
  const ending = new AbortController();
  const directory = new Directory(PREFIX, undefined);
  const cluster = { version: { clusterId: '1', revision: 1 }, edition: 0, directory };
  let current: AgentMemory = freshMemory();
  let problem: string | undefined;
  const memory = {
    get current() {
      return current;
    },
    update: (change: Partial<AgentMemory>) => {
      current = { ...current, ...change };
    },
  };
  const status = {
    setProblem: (_: string, text: string | undefined) => {
      problem = text;
    },
  };
  const running = watchRivals({ cluster, memory, status, clock }, () => SELF, OWN, ending.signal).catch(
    () => undefined,
  );
  const list = async (...leases: readonly KeyValue[]) => {
    directory.applySnapshot(leases, { continuous: true, now: clock.monotonic() });
    cluster.edition++;
    await clock.advance(1_000);
  };
  const own = leaseAt('10.5.1.0-24', '192.0.2.1', '7');
  const peer = leaseAt('10.5.2.0-24', '192.0.2.2', '8');
  await list(own, peer);
  t.deepEqual([current.hasRivals ?? false, problem], [false, undefined]);
  await list(own, peer, leaseAt('10.5.9.0-24', '192.0.2.1', '0'));
  t.true(current.hasRivals);
  t.regex(problem ?? '', /^10\.5\.9\.0\/24 is reserved for this host/);
  await list(own, peer);
  t.deepEqual([current.hasRivals, problem], [false, undefined]);
  await list(own, leaseAt('10.5.9.0-24', '192.0.2.1', '9'));
  t.deepEqual([current.hasRivals, problem], [true, undefined], 'a lease of an earlier run: only looked at');
  ending.abort();
  await running;
});

/** The directory against the plain reading of its rules, computed from scratch over all pairs. */
import test from 'ava';
import fc from 'fast-check';
import { overlaps } from '../../../config/address.ts';
import { decodeLease } from '../../../leases/codec.ts';
import { coverage } from '../../../leases/coverage.ts';
import { Directory } from '../../../leases/directory.ts';
import type { StoredLease } from '../../../leases/lease.ts';
import { addressIdentities } from '../../../leases/network-checks.ts';
import type { KeyValue, StoreEvent } from '../../../leases/store.ts';
import { keyValue, net, PREFIX, policyOf } from './leases.ts';

const FORBIDDEN = net('10.5.6.0/23');
const OPINION = {
  ownKey: `${PREFIX}/subnets/10.5.3.0-24`,
  refuse: (lease: StoredLease) => (overlaps(lease.subnet, FORBIDDEN) ? 'forbidden' : undefined),
  identities: (lease: StoredLease) => [...addressIdentities(lease), `MAC ${lease.backendData}`],
};
const POLICY = policyOf(OPINION);
/** Nothing is ours or forbidden. */
const TOLERANT = policyOf({ identities: OPINION.identities });
const OWN = net('10.5.3.0/24');

function inConflict(a: StoredLease, b: StoredLease): boolean {
  const shared = OPINION.identities(a).some((token) => OPINION.identities(b).includes(token));
  return shared || coverage(a).some((mine) => coverage(b).some((theirs) => overlaps(mine, theirs)));
}

function isOlder(a: StoredLease, b: StoredLease): boolean {
  return a.createRevision < b.createRevision || (a.createRevision === b.createRevision && a.key < b.key);
}

/** What the peers should be, key to value. */
function expectedPeers(kvs: Iterable<KeyValue>, policy = POLICY): Map<string, string> {
  const valid: StoredLease[] = [];
  for (const kv of kvs) {
    const decoded = decodeLease(PREFIX, kv);
    if (!decoded.ok || kv.key === policy.ownKey || 'refused' in policy.judge(decoded.lease)) continue;
    const atOurs = policy.ownKey !== undefined && coverage(decoded.lease).some((prefix) => overlaps(prefix, OWN));
    if (!atOurs) valid.push(decoded.lease);
  }
  const peers = valid.filter((lease) => !valid.some((other) => isOlder(other, lease) && inConflict(other, lease)));
  return new Map(peers.map(({ key, value }) => [key, value]));
}

function peersOf(directory: Directory): Map<string, string> {
  return new Map([...directory.peers.values()].map(({ key, value }) => [key, value]));
}

/** In key order: two maps are the same whatever the order in which they were filled. */
function sorted(map: ReadonlyMap<string, string>): [string, string][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** A small world, so that everything meets everything. */
const SUBNETS = [
  ...['10.5.1.0/24', '10.5.2.0/24', '10.5.3.0/24', '10.5.4.0/24', '10.5.6.0/24', '10.5.1.0/25', '10.5.1.128/25'],
  ...['10.5.0.0/22', '10.5.0.0/16', '10.5.4.0/23', '10.5.2.64/26', '0.0.0.0/0'],
];
const SUBNETS6 = [undefined, undefined, 'fd00:5:0:1::/64', 'fd00:5:0:1:8000::/65', 'fd00:5::/62', 'fd00:5:0:2::/64'];

type Step = { readonly kind: 'put' | 'delete' | 'junk'; readonly shape: Parameters<typeof keyValue>[0] };

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('put', 'put', 'put', 'delete', 'junk'),
  shape: fc.record({
    subnet: fc.constantFrom(...SUBNETS),
    subnet6: fc.constantFrom(...SUBNETS6),
    publicIp: fc.constantFrom('192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4', '192.0.2.5', '192.0.2.6'),
    mac: fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03', '02:00:00:00:00:04'),
  }),
});

/** The steps as a store would number them. */
function history(steps: readonly Step[]): { events: StoreEvent[]; end: Map<string, KeyValue> } {
  const end = new Map<string, KeyValue>();
  const events = steps.map(({ kind, shape }, i): StoreEvent => {
    const plain = keyValue(shape);
    const revision = i + 2;
    if (kind === 'delete') {
      end.delete(plain.key);
      return { type: 'delete', key: plain.key, modRevision: revision };
    }
    const value = kind === 'junk' ? '{"PublicIP":1}' : plain.value;
    const createRevision = end.get(plain.key)?.createRevision ?? revision;
    const kv = { ...plain, value, createRevision, modRevision: revision };
    end.set(kv.key, kv);
    return { type: 'put', kv };
  });
  return { events, end };
}

function* batches<T>(items: readonly T[], sizes: readonly number[]): Generator<readonly T[]> {
  for (let at = 0, i = 0; at < items.length; i++) {
    const size = sizes[i % Math.max(1, sizes.length)] ?? 1;
    yield items.slice(at, at + size);
    at += size;
  }
}

const sizes = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 8 });

test('after every batch: as if computed from scratch, and the changes say what happened', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), sizes, (steps, cuts) => {
      const directory = new Directory(PREFIX, POLICY);
      const followed = new Map<string, string>();
      let done = 0;
      for (const batch of batches(history(steps).events, cuts)) {
        done += batch.length;
        for (const { key, before, after } of directory.applyEvents(batch).peers) {
          t.is(followed.get(key), before?.value);
          if (after) followed.set(key, after.value);
          else followed.delete(key);
        }
        const { end } = history(steps.slice(0, done));
        t.deepEqual(sorted(peersOf(directory)), sorted(expectedPeers(end.values())));
        t.deepEqual(sorted(followed), sorted(peersOf(directory)));
        const judged = directory.peers.size + directory.refusedCount + (end.has(POLICY.ownKey ?? '') ? 1 : 0);
        t.true(judged === end.size || judged === end.size + 1);
      }
    }),
    { numRuns: 300 },
  );
  t.pass();
});

test('any order of different keys, any batching, and a snapshot all give the same peers', (t) => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 40 }),
      sizes,
      fc.array(fc.nat(), { minLength: 40, maxLength: 40 }),
      (steps, cuts, order) => {
        const { events, end } = history(steps);
        const keyOf = (event: StoreEvent) => (event.type === 'put' ? event.kv.key : event.key);
        const perKey = [...new Set(events.map(keyOf))].map((key) => events.filter((event) => keyOf(event) === key));
        const mixed: StoreEvent[] = [];
        for (let i = 0; perKey.some((queue) => queue.length > 0); i++) {
          const waiting = perKey.filter((queue) => queue.length > 0);
          const next = waiting[(order[i % order.length] ?? 0) % waiting.length]?.shift();
          if (next) mixed.push(next);
        }
        const directory = new Directory(PREFIX, POLICY);
        for (const batch of batches(mixed, cuts)) directory.applyEvents(batch);
        const listed = new Directory(PREFIX, POLICY);
        listed.applySnapshot([...end.values()].reverse(), { continuous: true, now: 0 });
        t.deepEqual(sorted(peersOf(directory)), sorted(expectedPeers(end.values())));
        t.deepEqual(sorted(peersOf(listed)), sorted(peersOf(directory)));
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});

test('a policy set late gives the same as one set early; a list after events changes nothing', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { events, end } = history(steps);
      const directory = new Directory(PREFIX, TOLERANT);
      directory.applyEvents(events);
      directory.setPolicy(POLICY);
      t.deepEqual(sorted(peersOf(directory)), sorted(expectedPeers(end.values())));
      t.deepEqual(directory.applySnapshot([...end.values()], { continuous: true, now: 0 }).peers, []);
      t.deepEqual(directory.setPolicy(POLICY).peers, []);
    }),
    { numRuns: 200 },
  );
  t.pass();
});

test('from one store to another, by way of the grace time, ends at the truth of the other', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.array(step, { maxLength: 30 }), fc.nat(30), (old, young, cut) => {
      const directory = new Directory(PREFIX, POLICY, 100);
      directory.applyEvents(history(old).events);
      const kept = peersOf(directory);
      // Those who had no rival: of rivals the new store may have another one as the older.
      const isPeaceful = directory.refusedCount === 0;
      const { events, end } = history(young);
      const listed = history(young.slice(0, cut)).end;
      directory.applySnapshot([...listed.values()], { continuous: false, now: 0 });
      // Nothing goes for what the new store has, or has not, from before its first list.
      if (isPeaceful)
        t.deepEqual(
          [...kept].filter(([key, value]) => directory.peers.get(key)?.value !== value),
          [],
        );
      directory.applyEvents(events.slice(cut));
      directory.sweep(100);
      t.deepEqual(sorted(peersOf(directory)), sorted(expectedPeers(end.values())));
      t.is(directory.nextSweepAt(), undefined);
    }),
    { numRuns: 300 },
  );
  t.pass();
});

test('junk never removes a peer', (t) => {
  const name = fc.string({ unit: 'binary' }).filter((text) => !/^\d/.test(text));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), fc.array(fc.tuple(name, fc.string())), (steps, garbage) => {
      const { events, end } = history(steps);
      const directory = new Directory(PREFIX, POLICY);
      directory.applyEvents(events);
      const junk = garbage.map(([key, value]) => ({
        ...{ key: `${PREFIX}/subnets/${key}`, value, createRevision: 1, modRevision: 1000, lease: '0' },
      }));
      t.deepEqual(directory.applyEvents(junk.map((kv) => ({ type: 'put', kv }))).peers, []);
      t.deepEqual(directory.applySnapshot([...junk, ...end.values()], { continuous: true, now: 0 }).peers, []);
    }),
    { numRuns: 100 },
  );
  t.pass();
});

test('10,000 leases and 100,000 junk keys', (t) => {
  const leases = Array.from({ length: 10_000 }, (_, i) =>
    keyValue({
      ...{ subnet: `10.${i >> 8}.${i & 255}.0/24`, publicIp: `172.16.${i >> 8}.${i & 255}`, created: i + 1 },
      mac: `02:00:00:00:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`,
    }),
  );
  const junk = Array.from({ length: 100_000 }, (_, i) => ({
    ...{ key: `${PREFIX}/subnets/junk-${i}`, value: 'x', createRevision: 1, modRevision: 1, lease: '0' },
  }));
  const directory = new Directory(PREFIX, TOLERANT);
  directory.applySnapshot([...junk, ...leases], { continuous: true, now: 0 });
  t.is(directory.peers.size, 10_000);
  t.is(directory.refusedCount, 100_000);
  // One change at a time; were each to cost the whole set, this would not end in a test's time.
  for (const kv of leases) directory.applyEvents([{ type: 'delete', key: kv.key, modRevision: 20_000 }]);
  for (const kv of leases) directory.applyEvents([{ type: 'put', kv }]);
  t.is(directory.peers.size, 10_000);
});

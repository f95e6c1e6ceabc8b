import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { type KernelObject, keyOf, type Operation } from '../../../backends/state.ts';
import type { StoredLease } from '../../../leases/lease.ts';
import type { Call, FakeKernel } from '../../fakes/kernel.ts';
import { refusal } from '../../fakes/kernel-tables.ts';
import { changes, DEV, hostKernel, Rig, stored } from './rig.ts';
import { ip, mac, prefix } from './values.ts';

const PEERS = [2, 3, 4, 5] as const;
const GATEWAY = ip('192.168.77.1');
const ERRNOS = ['ENOBUFS', 'ENOMEM', 'EINVAL', 'EEXIST', 'ETIMEDOUT'] as const;
const READS: readonly Call[] = ['links', 'addresses', 'neighbours', 'fdb', 'nexthops', 'nexthopIds', 'routes', 'apply'];

type Step =
  | { readonly do: 'lease'; readonly n: number; readonly shape: number }
  | { readonly do: 'foreign'; readonly hand: number; readonly n: number; readonly at: number }
  | { readonly do: 'refuse'; readonly count: number; readonly errno: number }
  | { readonly do: 'fail'; readonly call: number }
  | { readonly do: 'events'; readonly late: boolean; readonly lost: boolean }
  | { readonly do: 'wait'; readonly ms: number };

/** What others do to our things, and beside them. `n` chooses the victim. */
const HANDS: readonly ((kernel: FakeKernel, n: number) => void)[] = [
  ({ tables }) => tables.deleteLink(DEV),
  ({ tables }) => tables.changeLink(DEV, { up: false }),
  ({ tables }) => tables.changeLink(DEV, { mac: mac('02:00:00:00:00:99') }),
  ({ tables }) => tables.changeLink(DEV, { mtuBytes: 1280 }),
  ({ tables }) => tables.changeLink('eth0', { mtuBytes: 1400 }),
  ({ tables }) => tables.delete({ kind: 'address', dev: DEV, ip: ip('10.5.1.0'), length: 32 }),
  ({ tables }, n) => void tables.set('set', { kind: 'address', dev: DEV, ip: ip(`10.5.${n}.1`), length: 32 }),
  ({ tables }, n) => tables.deleteNexthop([...tables.nexthops.keys()].filter(isInRange)[n] ?? 0),
  ({ tables }, n) => {
    const id = [...tables.nexthops.keys()].filter(isInRange)[n];
    if (id !== undefined) tables.blackholeNexthop(id);
  },
  ({ tables }, n) => {
    const id = [...tables.nexthops.keys()].filter(isInRange)[n] ?? 0x54000001 + n;
    tables.set('set', { kind: 'nexthop', id, dev: 'eth0', gateway: GATEWAY, onlink: false }, { protocol: 16 });
  },
  ({ tables }, n) => {
    tables.set('set', { kind: 'nexthop', id: 0x54ab0000 + n, dev: DEV, gateway: ip(`10.5.${n}.0`), onlink: true });
  },
  ({ tables }, n) => tables.removeRoutes(({ dst }) => dst === `10.5.${n}.0/24`),
  ({ tables }, n) => void tables.set('set', routeVia(n, 'eth0', false), { protocol: 16 }),
  ({ tables }, n) => {
    const fields = { metric: 0, protocol: 3, onlink: false, nexthopId: undefined, type: 6 };
    tables.addRoute({ ...fields, dst: prefix(`10.5.${n}.0/24`), dev: undefined, gateway: undefined }, true);
  },
  ({ tables }, n) => void tables.set('set', routeVia(n, DEV, true), { protocol: 84 }),
  ({ tables }, n) => void tables.set('set', neighbourOf(n, '02:00:00:00:00:98')),
  ({ tables }, n) => void tables.set('set', neighbourOf(n, '02:00:00:00:00:98'), { permanent: false }),
  ({ tables }, n) => tables.delete(neighbourOf(n, '02:00:00:00:00:98')),
  ({ tables }, n) => void tables.set('set', fdbOf(n, '192.168.77.99')),
  ({ tables }, n) => tables.delete(fdbOf(n, '192.168.77.99')),
];

function isInRange(id: number): boolean {
  return id >= 0x54000000;
}

function routeVia(n: number, dev: string, onlink: boolean): KernelObject {
  return { kind: 'route', dst: prefix(`10.5.${n}.0/24`), dev, gateway: GATEWAY, onlink, nexthopId: undefined };
}

function neighbourOf(n: number, text: string): KernelObject {
  return { kind: 'neighbour', dev: DEV, ip: ip(`10.5.${n}.0`), mac: mac(text) };
}

function fdbOf(n: number, dst: string): KernelObject {
  return { kind: 'fdb', dev: DEV, mac: mac(`02:00:00:00:04:0${n}`), dst: ip(dst) };
}

/** Shape 0: no lease. The others differ in public IP and MAC; 3 has the MAC of the next peer's shape 2. */
function leaseOf(n: number, shape: number): StoredLease | number {
  if (shape === 0) return n;
  const [octet, address] = [undefined, [n, n], [n + 16, n], [n + 17, n + 100]][shape] ?? [n, n];
  const backendData = `{"VNI":1,"VtepMAC":"02:00:00:00:04:${Number(octet).toString(16).padStart(2, '0')}"}`;
  return stored(n, { publicIp: ip(`192.168.77.${address}`), backendData });
}

const peer = fc.constantFrom(...PEERS);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('lease' as const), n: peer, shape: fc.nat(3) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('foreign' as const),
      hand: fc.nat(HANDS.length - 1),
      n: peer,
      // 0: at once; else in the middle of the so-many-th call from now on.
      at: fc.nat(12),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('refuse' as const), count: fc.nat(12), errno: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('fail' as const), call: fc.nat(READS.length - 1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('events' as const), late: fc.boolean(), lost: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 10, 60, 700, 20_000) }),
  },
);

/** One history on one host. */
class History {
  readonly rig: Rig;
  readonly leases = new Map<number, StoredLease>();
  readonly #pending: { calls: number; readonly hand: () => void }[] = [];
  #refusals = 0;
  #errno = 'EINVAL';

  constructor(nexthopObjects: boolean, seed: number) {
    this.rig = new Rig({ nexthopObjects, seed, kernel: crowdedKernel() });
    this.rig.kernel.refuses = () => (this.#refusals-- > 0 ? refusal(this.#errno) : undefined);
    this.rig.kernel.meanwhile = () => this.#meanwhile();
  }

  async play(steps: readonly Step[]): Promise<void> {
    await this.rig.start();
    this.rig.reconciler.update([], true);
    for (const one of steps) {
      this.#take(one);
      if (one.do === 'wait') await this.rig.clock.advance(one.ms);
    }
  }

  #take(one: Step): void {
    const { kernel, reconciler } = this.rig;
    if (one.do === 'lease') {
      const lease = leaseOf(one.n, one.shape);
      // The directory lets no two peers share a MAC.
      if (typeof lease !== 'number' && this.#isTaken(lease)) return;
      if (typeof lease === 'number') this.leases.delete(one.n);
      else this.leases.set(one.n, lease);
      reconciler.update(changes(lease), false);
    } else if (one.do === 'foreign') {
      const hand = (): void => HANDS[one.hand]?.(kernel, one.n);
      if (one.at === 0) hand();
      else this.#pending.push({ calls: one.at, hand });
    } else if (one.do === 'refuse') {
      this.#refusals = one.count;
      this.#errno = ERRNOS[one.errno] ?? 'EINVAL';
    } else if (one.do === 'fail') kernel.failNext(READS[one.call] ?? 'apply');
    else if (one.do === 'events') {
      kernel.isLate = one.late;
      kernel.loses = one.lost ? 'told' : 'none';
    }
  }

  #isTaken({ key, backendData }: StoredLease): boolean {
    return [...this.leases.values()].some((other) => other.key !== key && other.backendData === backendData);
  }

  #meanwhile(): void {
    for (const one of [...this.#pending]) {
      one.calls -= 1;
      if (one.calls > 0) continue;
      this.#pending.splice(this.#pending.indexOf(one), 1);
      one.hand();
    }
  }

  /** Nobody disturbs any more, and time passes. */
  async calm(): Promise<void> {
    this.rig.kernel.meanwhile = () => undefined;
    this.#refusals = 0;
    this.rig.kernel.loses = 'none';
    await this.rig.clock.advance(200_000);
  }
}

const BYSTANDERS: readonly { readonly object: KernelObject; readonly protocol: number }[] = [
  { object: { kind: 'nexthop', id: 7, dev: 'eth0', gateway: GATEWAY, onlink: false }, protocol: 16 },
  { object: { kind: 'nexthop', id: 0x54123456, dev: 'eth0', gateway: GATEWAY, onlink: false }, protocol: 84 },
  { object: routeVia(60, 'eth0', false), protocol: 16 },
  { object: routeVia(61, 'eth0', false), protocol: 3 },
  { object: { kind: 'neighbour', dev: 'eth0', ip: ip('10.5.2.0'), mac: mac('02:00:00:00:00:77') }, protocol: 0 },
];

function crowdedKernel(): FakeKernel {
  const kernel = hostKernel();
  for (const { object, protocol } of BYSTANDERS) kernel.tables.set('set', object, { protocol });
  return kernel;
}

/** Whatever is not ours, as text: what others made at free places, and their nexthops. */
function others({ tables }: FakeKernel): string {
  const keys = new Set(BYSTANDERS.map(({ object }) => keyOf(object)));
  const nexthops = [...tables.nexthops.values()].filter((found) => found && keys.has(keyOf(found.object)));
  const routes = tables.routes.filter(({ dst }) => keys.has(`route ${dst}`) || dst === '0.0.0.0/0');
  const neighbours = tables.neighbours.filter(({ object }) => object.dev !== DEV);
  const addresses = tables.addresses.filter(({ dev }) => dev !== DEV);
  return JSON.stringify([nexthops, routes, neighbours, addresses], undefined, 1);
}

/** Histories in which the loop once spun without end: each pass found a reason for the next. */
const SPINS: [Step[], number][] = [
  [
    [
      { do: 'foreign', hand: 13, n: 4, at: 12 },
      { do: 'wait', ms: 60 },
      { do: 'wait', ms: 700 },
      { do: 'fail', call: 2 },
      { do: 'lease', n: 2, shape: 1 },
      { do: 'foreign', hand: 4, n: 3, at: 2 },
      { do: 'foreign', hand: 3, n: 5, at: 4 },
      { do: 'fail', call: 2 },
      { do: 'wait', ms: 60 },
      { do: 'lease', n: 4, shape: 1 },
    ],
    263,
  ],
  [
    [
      { do: 'foreign', hand: 6, n: 2, at: 4 },
      { do: 'refuse', count: 8, errno: 3 },
      { do: 'foreign', hand: 18, n: 4, at: 3 },
      { do: 'wait', ms: 10 },
      { do: 'foreign', hand: 8, n: 2, at: 10 },
      { do: 'foreign', hand: 8, n: 4, at: 4 },
      { do: 'fail', call: 6 },
      { do: 'foreign', hand: 8, n: 4, at: 6 },
      { do: 'wait', ms: 700 },
      { do: 'lease', n: 4, shape: 0 },
    ],
    369,
  ],
];

for (const nexthopObjects of [true, false]) {
  test(`whatever happens, it ends in step and touches nothing foreign; nexthop objects: ${nexthopObjects}`, async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.nat(1_000), async (steps, seed) => {
        const history = new History(nexthopObjects, seed);
        const before = others(history.rig.kernel);
        try {
          await history.play(steps);
          await history.calm();
          const { inStep, missing } = history.rig.reconciler.step();
          assert.deepEqual(await history.rig.left([...history.leases.values()]), []);
          assert.deepEqual(missing, []);
          assert.ok(inStep);
          assert.equal(others(history.rig.kernel), before);
          assert.equal(history.rig.ended, undefined);
          history.rig.kernel.forget();
          await history.rig.clock.advance(40_000);
          assert.deepEqual(history.rig.kernel.operations, []);
        } finally {
          await history.rig.stop();
        }
      }),
      { numRuns: Number(process.env['TARTAN_RUNS'] ?? 150), examples: SPINS },
    );
    t.pass();
  });
}

test('nothing is asked of the kernel that it was not told to be ours', async (t) => {
  const isStrange = ({ verb, object }: Operation): boolean =>
    verb === 'delete' && BYSTANDERS.some((one) => keyOf(one.object) === keyOf(object));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const history = new History(true, 1);
      const strange: string[] = [];
      history.rig.kernel.refuses = (operation) => {
        if (isStrange(operation)) strange.push(keyOf(operation.object));
        return undefined;
      };
      await history.play(steps);
      await history.calm();
      await history.rig.stop();
      assert.deepEqual(strange, []);
    }),
    { numRuns: 40 },
  );
  t.pass();
});

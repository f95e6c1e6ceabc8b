/**
 * Many agents in one process, of each all that it does with etcd: the lease that it claims and holds, the watch on
 * everybody's leases and the one for challenges. What it would make of the leases it does not. Where there are fewer
 * connections than agents some share one.
 *
 *     node fleet.js ENDPOINT FIRST COUNT CONNECTIONS
 *
 * First each claims a lease, and they say so. On SIGUSR2 they follow the leases, and say when all watches stand; then of
 * each change of a lease when the last of them has heard of it. They come about at once and from nothing, so the list that
 * an agent begins with is read once for all of a process: ten thousand of ten thousand leases would be 40 GB.
 */
import { once } from 'node:events';
import { silentLog } from '../../config/log.ts';
import { parseNetworkConfig } from '../../config/network-config.ts';
import { acquire } from '../../leases/acquisition.ts';
import { answerChallenges } from '../../leases/challenge.ts';
import { connectEtcd } from '../../leases/etcd.ts';
import type { Offer } from '../../leases/exchange.ts';
import type { AcquireContext } from '../../leases/ground.ts';
import type { HeldLease } from '../../leases/held-lease.ts';
import { Holder } from '../../leases/holder.ts';
import type { LeaseOwner } from '../../leases/lease.ts';
import { type ClusterView, keysUnder, readView } from '../../leases/registry.ts';
import type { Listing, Store, StoreEvent } from '../../leases/store.ts';
import { followRange } from '../../leases/watch.ts';
import { ip, prefix } from '../support/addresses.ts';
import { PREFIX } from '../support/agent.ts';
import { realClock } from '../support/real-clock.ts';
import { instant, tell } from './instant.ts';
import { untilAnswered } from './patience.ts';

const TTL_SECONDS = 86_400;
const RENEW_MARGIN_SECONDS = 3600;
/** More than an agent gives etcd: thousands of them share a core here, and what is late is their own reading. */
const DEADLINE_MS = 60_000;
/** So many are under way at a time. */
const AT_A_TIME = 16;
const KEYS = keysUnder(PREFIX);

const [endpoint = '', first = '', count = '', connections = ''] = process.argv.slice(2);

/** Who has heard of a change: the last of them tells. */
class Ears {
  readonly #heard = new Map<string, { agents: number; readonly firstAt: number }>();
  /** Before all are there nobody waits for everybody. */
  isOpen = false;

  note(event: StoreEvent): void {
    if (!this.isOpen) return;
    const key = event.type === 'put' ? event.kv.key : event.key;
    const what = `${event.type} ${key}`;
    const heard = this.#heard.get(what) ?? { agents: 0, firstAt: instant() };
    this.#heard.set(what, heard);
    heard.agents++;
    if (heard.agents < Number(count)) return;
    this.#heard.delete(what);
    tell('heard', { what, firstAt: heard.firstAt, lastAt: instant() });
  }
}

const ears = new Ears();

/** Each has a place of its own in the network: how they find one is another suite's matter. */
async function claim(
  context: AcquireContext,
  owner: LeaseOwner,
  number: number,
  view: ClusterView,
): Promise<HeldLease> {
  const [high, low] = [number >> 8, number & 255];
  const publicIp = ip(`172.20.${high}.${low}`);
  const mac = [2, 0x42, 0x0b, 0, high, low].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
  const backendData = JSON.stringify({ VNI: 1, VtepMAC: mac });
  const none = { publicIp6: undefined, backendV6Data: undefined };
  const attributes = { ...none, publicIp, backendType: 'vxlan', backendData };
  const parsed = parseNetworkConfig(view.config?.value ?? '');
  if (!view.config || !parsed.ok) throw new Error('no usable network config');
  const result = await acquire(context, {
    ...{ self: { ...owner, publicIp, publicIp6: undefined }, config: parsed.config, view },
    ...{ configRevision: view.config.modRevision, ttlSeconds: TTL_SECONDS, avoid: [], trust: undefined },
    previous: { subnet: prefix(`10.${64 + high}.${low}.0/24`), subnet6: undefined },
    attributes: async () => attributes,
  });
  if (result.outcome !== 'held') throw new Error(`${owner.name}: ${result.outcome}`);
  return result.held;
}

function hold({ context, held, owner }: Member): Holder {
  const holder = new Holder(context, held, {
    marginSeconds: RENEW_MARGIN_SECONDS,
    isOurDevice: () => true,
    flanneldsLive: () => false,
    onHeld: () => undefined,
  });
  void holder.run();
  const { store, prefix } = context;
  const words = { sure: () => holder.sure(), cede: (offer: Offer) => holder.cede(offer) };
  void answerChallenges(store, prefix, held, owner, { ...context, ...words });
  return holder;
}

/** The store of an agent whose first list was read for it. */
function listedAlready(store: Store, listing: Listing): Store {
  let isFirst = true;
  const list: Store['list'] = async (range, options) => {
    const isShared = isFirst && options === undefined;
    if (isShared) isFirst = false;
    return isShared ? listing : store.list(range, options);
  };
  return new Proxy(store, {
    get: (target, name) => {
      const member: unknown = name === 'list' ? list : Reflect.get(target, name);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

/** Resolves when its watch stands. */
function follow({ context, held }: Member, holder: Holder, listing: Listing): Promise<void> {
  const store = listedAlready(context.store, listing);
  return new Promise((resolve) => {
    void followRange({
      ...{ ...context, store, range: KEYS.watched },
      fleet: () => listing.kvs.length,
      onSnapshot: () => undefined,
      onEvents: (events) => {
        for (const event of events) {
          ears.note(event);
          if (event.type === 'put' && event.kv.key === held.key) holder.observe(event.kv);
          if (event.type === 'delete' && event.key === held.key) holder.observe(undefined);
        }
      },
      onState: ({ connected }) => {
        if (connected) resolve();
      },
    });
  });
}

interface Member {
  readonly context: AcquireContext;
  readonly owner: LeaseOwner;
  readonly held: HeldLease;
}

async function join(number: number, store: Store, view: ClusterView): Promise<Member> {
  const text = String(number).padStart(12, '0');
  const owner = { node: `${text}-node`, name: `host-${number}`, claim: `${text}-claim` };
  const signal = new AbortController().signal;
  const context = { store, prefix: PREFIX, clock: realClock, log: silentLog, signal };
  return { context, owner, held: await untilAnswered(() => claim(context, owner, number, view)) };
}

/** Some at a time. */
async function forEach<T>(all: Iterable<T>, work: (one: T) => Promise<void>): Promise<void> {
  const rest = all[Symbol.iterator]();
  const some = { [Symbol.iterator]: () => rest };
  await Promise.all(
    Array.from({ length: AT_A_TIME }, async () => {
      for (const one of some) await work(one);
    }),
  );
}

const go = once(process, 'SIGUSR2');
const members: Member[] = [];
const scout = connectEtcd({ endpoints: [endpoint] });
const empty = await untilAnswered(() => readView(scout, PREFIX));
const numbers = Array.from({ length: Number(count) }, (_, i) => Number(first) + i);
const stores = Array.from({ length: Number(connections) }, () =>
  connectEtcd({ endpoints: [endpoint], deadlineMs: DEADLINE_MS }),
);
await forEach(numbers, async (number) => {
  const store = stores[number % stores.length];
  if (store) members.push(await join(number, store, empty));
});
// A signal that is waited for does not keep a process alive.
const alive = setInterval(() => undefined, 1000);
tell('claimed', { agents: members.length });
await go;
clearInterval(alive);
const listing = await untilAnswered(() => scout.list(KEYS.watched));
await scout.close();
await forEach(members, async (member) => {
  await follow(member, hold(member), listing);
});
ears.isOpen = true;
tell('joined', { agents: members.length });

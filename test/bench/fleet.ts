/**
 * Many agents in one process, of each all that it does with etcd: a connection of its own, the lease that it claims and
 * holds, the watch on everybody's leases and the one for challenges. What it would make of the leases it does not.
 *
 *     node fleet.js ENDPOINT FIRST COUNT
 *
 * Says when all are there, and of each change of a lease when the last of them has heard of it.
 */
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
import { keysUnder, readView } from '../../leases/registry.ts';
import type { StoreEvent } from '../../leases/store.ts';
import { followRange } from '../../leases/watch.ts';
import { PREFIX } from '../support/agent.ts';
import { ip } from '../support/network.ts';
import { realClock } from '../support/real-clock.ts';
import { instant, tell } from './instant.ts';
import { untilAnswered } from './patience.ts';

const TTL_SECONDS = 86_400;
const RENEW_MARGIN_SECONDS = 3600;
/** Of so many the join is under way at a time. */
const JOINING = 4;
const KEYS = keysUnder(PREFIX);

const [endpoint = '', first = '', count = ''] = process.argv.slice(2);

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

async function claim(context: AcquireContext, owner: LeaseOwner, number: number): Promise<HeldLease> {
  const publicIp = ip(`172.20.${number >> 8}.${number & 255}`);
  const backendData = `{"VNI":1,"VtepMAC":"02:42:0b:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}"}`;
  const none = { publicIp6: undefined, backendV6Data: undefined };
  const attributes = { ...none, publicIp, backendType: 'vxlan', backendData };
  const view = await readView(context.store, PREFIX);
  const parsed = parseNetworkConfig(view.config?.value ?? '');
  if (!view.config || !parsed.ok) throw new Error('no usable network config');
  const result = await acquire(context, {
    ...{ self: { ...owner, publicIp, publicIp6: undefined }, config: parsed.config, view },
    ...{ configRevision: view.config.modRevision, previous: undefined, ttlSeconds: TTL_SECONDS, avoid: [] },
    trust: undefined,
    attributes: async () => attributes,
  });
  if (result.outcome !== 'held') throw new Error(`${owner.name}: ${result.outcome}`);
  return result.held;
}

function hold(context: AcquireContext, held: HeldLease, owner: LeaseOwner): Holder {
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

/** Resolves when its watch stands. */
function follow(context: AcquireContext, { key: own }: HeldLease, holder: Holder): Promise<void> {
  return new Promise((resolve) => {
    void followRange({
      ...{ ...context, range: KEYS.watched },
      onSnapshot: () => undefined,
      onEvents: (events) => {
        for (const event of events) {
          ears.note(event);
          if (event.type === 'put' && event.kv.key === own) holder.observe(event.kv);
          if (event.type === 'delete' && event.key === own) holder.observe(undefined);
        }
      },
      onState: ({ connected }) => {
        if (connected) resolve();
      },
    });
  });
}

async function join(number: number): Promise<void> {
  const text = String(number).padStart(12, '0');
  const owner = { node: `${text}-node`, name: `host-${number}`, claim: `${text}-claim` };
  const signal = new AbortController().signal;
  const store = connectEtcd({ endpoints: [endpoint] });
  const context = { store, prefix: PREFIX, clock: realClock, log: silentLog, signal };
  const held = await untilAnswered(() => claim(context, owner, number));
  await follow(context, held, hold(context, held, owner));
}

const rest = Array.from({ length: Number(count) }, (_, i) => Number(first) + i).values();
await Promise.all(
  Array.from({ length: JOINING }, async () => {
    for (const number of rest) await join(number);
  }),
);
ears.isOpen = true;
tell('joined', { agents: Number(count) });

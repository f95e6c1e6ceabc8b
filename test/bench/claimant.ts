/**
 * Many agents without a kernel in one process. They connect, list, and claim subnets when SIGUSR2 comes. Before that some
 * have claimed elsewhere: V8 compiles the code of each real agent on that one's own processor, and while it waits.
 *
 *     node claimant.js ENDPOINT tartan|flannel FIRST COUNT CONNECTIONS
 *
 * `tartan` is the agent's own way to its lease. `flannel` is flannel's: one at random of the first hundred free subnets,
 * a transaction that creates the key; where that is lost, list again.
 */
import { once } from 'node:events';
import { silentLog } from '../../config/log.ts';
import { type NetworkConfig, parseNetworkConfig } from '../../config/network-config.ts';
import { acquire } from '../../leases/acquisition.ts';
import { formatLeaseValue } from '../../leases/codec.ts';
import { connectEtcd } from '../../leases/etcd.ts';
import type { LeaseAttributes, LeaseOwner } from '../../leases/lease.ts';
import { type ClusterView, keysUnder, readView } from '../../leases/registry.ts';
import type { Store } from '../../leases/store.ts';
import { ip } from '../support/addresses.ts';
import { PREFIX } from '../support/agent.ts';
import { realClock } from '../support/real-clock.ts';
import { CLAIM_NETWORK, claimableKeys, firstFree } from './claim-range.ts';
import { instant, tell } from './instant.ts';
import { untilAnswered } from './patience.ts';

const TTL_SECONDS = 86_400;
/** So many agents claim under a prefix of the process's own before it counts. */
const WARM_UP = 500;
/** Of so many free subnets flannel takes one. */
const FIRST_FREE = 100;
/** More than an agent gives a call: hundreds of them share a loop here. */
const DEADLINE_MS = 10_000;

const [endpoint = '', way = '', first = '', count = '', connections = ''] = process.argv.slice(2);

const requests = { txn: 0, list: 0, grant: 0, other: 0 };

/** Counts what is asked of etcd. */
function counted(store: Store): Store {
  const kindOf = (name: string) => (name === 'txn' || name === 'list' || name === 'grant' ? name : 'other');
  return new Proxy(store, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]): unknown => {
        requests[kindOf(String(name))]++;
        return member.apply(target, args);
      };
    },
  });
}

/** Where leases are claimed. */
interface Cluster {
  readonly prefix: string;
  readonly keys: readonly string[];
}

function clusterAt(prefix: string): Cluster {
  return { prefix, keys: claimableKeys(prefix) };
}

interface Host {
  readonly cluster: Cluster;
  readonly store: Store;
  readonly owner: LeaseOwner;
  readonly attributes: LeaseAttributes;
  /** As a host sees the cluster that has just listed it. */
  readonly view: ClusterView;
}

async function hostOf(number: number, store: Store, cluster: Cluster): Promise<Host> {
  const text = String(number).padStart(12, '0');
  const owner = { node: `${text}-node`, name: `host-${number}`, claim: `${text}-claim` };
  const publicIp = ip(`172.16.${number >> 8}.${number & 255}`);
  const backendData = '{"VNI":1,"VtepMAC":"02:42:0a:00:00:01"}';
  const none = { publicIp6: undefined, backendV6Data: undefined, owner: undefined };
  const attributes = { ...none, publicIp, backendType: 'vxlan', backendData };
  const view = await untilAnswered(() => readView(store, cluster.prefix));
  return { cluster, store, owner, attributes, view };
}

interface Claimed {
  readonly key: string;
  readonly transactions: number;
}

function configOf({ config }: ClusterView): { readonly config: NetworkConfig; readonly configRevision: number } {
  const parsed = parseNetworkConfig(config?.value ?? '');
  if (!config || !parsed.ok) throw new Error('no usable network config');
  return { config: parsed.config, configRevision: config.modRevision };
}

async function claimOurs({ cluster: { prefix }, store, owner, attributes, view }: Host): Promise<Claimed> {
  const { publicIp, publicIp6 } = attributes;
  const context = { store, prefix, clock: realClock, log: silentLog, signal: new AbortController().signal };
  const result = await acquire(context, {
    ...{ self: { ...owner, publicIp, publicIp6 }, ...configOf(view), view },
    ...{ previous: undefined, ttlSeconds: TTL_SECONDS, avoid: [], trust: undefined },
    attributes: async () => attributes,
  });
  if (result.outcome !== 'held') throw new Error(`${owner.name}: ${result.outcome}`);
  return { key: result.held.key, transactions: result.transactions };
}

/** @returns whether the key is ours: by this transaction, or by one before it whose answer was lost */
async function create(store: Store, key: string, value: string, lease: string): Promise<boolean> {
  const put = { put: key, value, lease };
  const txn = () => store.txn({ compare: [{ key, modRevision: 0 }], success: [put], failure: [{ get: key }] });
  const { succeeded, responses } = await untilAnswered(txn);
  return succeeded || responses[0]?.[0]?.value === value;
}

/** Of a list that is lost against only the keys are read: flannel reads values and asks for the TTL of each. */
async function claimAsFlannel({ cluster: { prefix, keys }, store, attributes }: Host): Promise<Claimed> {
  const lease = await untilAnswered(() => store.grant(TTL_SECONDS));
  const value = formatLeaseValue(attributes);
  let taken: ReadonlySet<string> = new Set();
  for (let transactions = 1; ; transactions++) {
    const free = firstFree(keys, taken, FIRST_FREE);
    const key = free[Math.floor(Math.random() * free.length)];
    if (key === undefined) throw new Error('no subnet is left');
    if (await create(store, key, value, lease)) return { key, transactions };
    const { kvs } = await untilAnswered(() => store.list(keysUnder(prefix).subnets, { keysOnly: true }));
    taken = new Set(kvs.map((kv) => kv.key));
  }
}

const claim = way === 'tartan' ? claimOurs : claimAsFlannel;
const stores = Array.from({ length: Number(connections) }, () =>
  connectEtcd({ endpoints: [endpoint], deadlineMs: DEADLINE_MS }),
);
const counting = stores.map(counted);

function hostsOf(numbers: readonly number[], cluster: Cluster): Promise<Host[]> {
  return Promise.all(
    numbers.map((number) => {
      const store = counting[number % counting.length];
      if (store === undefined) throw new Error('no connection');
      return hostOf(number, store, cluster);
    }),
  );
}

function claimAll(hosts: readonly Host[]): Promise<Claimed[]> {
  return Promise.all(hosts.map((host) => untilAnswered(() => claim(host))));
}

async function warmUp(): Promise<void> {
  const cluster = clusterAt(`${PREFIX}-of-${first}`);
  const config = { put: keysUnder(cluster.prefix).config, value: JSON.stringify(CLAIM_NETWORK), lease: '0' };
  for (const store of stores.slice(0, 1)) await store.txn({ compare: [], success: [config], failure: [] });
  await claimAll(await hostsOf([...Array(WARM_UP).keys()], cluster));
}

// So that each is connected before it counts.
for (const store of stores) await untilAnswered(() => store.get(keysUnder(PREFIX).config));
await warmUp();
const numbers = Array.from({ length: Number(count) }, (_, i) => Number(first) + i);
const hosts = await hostsOf(numbers, clusterAt(PREFIX));
const go = once(process, 'SIGUSR2');
// A signal that is waited for does not keep a process alive.
const alive = setInterval(() => undefined, 1000);
tell('ready', { hosts: hosts.length });
await go;
clearInterval(alive);
for (const kind of ['txn', 'list', 'grant', 'other'] as const) requests[kind] = 0;
const { user, system } = process.cpuUsage();
const startedAt = instant();
const claimed = await claimAll(hosts);
const endedAt = instant();
const used = process.cpuUsage({ user, system });
tell('claimed', { startedAt, endedAt, cpuMs: (used.user + used.system) / 1000, requests, claimed });
await Promise.all(stores.map((store) => store.close()));

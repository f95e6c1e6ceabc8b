/**
 * A restart that goes on with its lease before the leases are listed, which takes long where there are many: only the
 * config, our own key and those beside it are read, at one revision.
 *
 *   read ─▶ as remembered? ─▶ devices ─▶ renewed, and still there ─▶ held ─▶ the list follows
 *              │ no, or etcd is slow       │ no, or slow                        │ not within 3 s
 *              └───────────────────────────┴────▶ as any other start            └──▶ the leases remembered
 *
 * That nobody else has our public IP or node id the keys beside the lease say: whoever takes one of these over replaces
 * its key. What stands among the leases besides is judged when they are listed, as for an agent that was never away.
 */
import { createBackendHere } from '../backends/backends.ts';
import { within } from '../config/clock.ts';
import { parseNetworkConfig } from '../config/network-config.ts';
import { decodeLease } from '../leases/codec.ts';
import type { HeldLease } from '../leases/held-lease.ts';
import { type Keys, keysUnder } from '../leases/registry.ts';
import { resume } from '../leases/resumption.ts';
import { readBeside, type SideKey, sideKeysOf } from '../leases/side-keys.ts';
import type { KeyValue, Store, StoreVersion } from '../leases/store.ts';
import { follows } from '../leases/store-trust.ts';
import type { Cluster } from './cluster.ts';
import { familiesOf } from './config-families.ts';
import type { Joined } from './joining.ts';
import { prepareDevices } from './own-devices.ts';
import type { RecollectionContext } from './recollection.ts';
import { isAsPublished, rememberedLease, unfit } from './remembered-lease.ts';
import { surveyUnderlay } from './underlay-survey.ts';

/** An etcd that is slower to answer, or to renew the lease, is waited for as at any other start. */
const PATIENCE_MS = { read: 300, renew: 1_000 } as const;
/** As long as a start without etcd waits for it. */
const LISTED_WITHIN_MS = 3_000;

export interface EarlyContext
  extends Pick<RecollectionContext, 'options' | 'clock' | 'log' | 'owner' | 'macs' | 'remembered' | 'rememberDevices'> {
  readonly store: Store;
  readonly signal: AbortSignal;
  /** The store as an earlier run saw it. */
  readonly known: StoreVersion | undefined;
  /** Whether other leases stood for this host too: which of them it goes on with all leases decide. */
  readonly hasRivals: boolean;
  kernel(): Promise<RecollectionContext['kernel']>;
}

interface OwnKeys extends StoreVersion {
  readonly config: KeyValue;
  readonly lease: KeyValue;
  readonly side: readonly SideKey[];
}

/** @returns undefined where that can't be: nothing is lost. Never rejects. */
export async function resumeEarly(context: EarlyContext): Promise<Joined | undefined> {
  const { log } = context;
  try {
    return await tryToResume(context);
  } catch (error) {
    log.debug('the lease is not gone on with at once', { error });
    return undefined;
  }
}

async function tryToResume(context: EarlyContext): Promise<Joined | undefined> {
  const { options, clock, log, owner, remembered, store, signal, known, hasRivals } = context;
  const prefix = options.etcdPrefix;
  const memory = rememberedLease(remembered.held, { prefix, owner, now: clock.now() });
  // Without keys of ours beside it nothing but the leases themselves tells who else has our address.
  if (!memory.ok || memory.held.sideLease === undefined || !known || hasRivals) return undefined;
  const { held } = memory;
  const own = await within(clock, PATIENCE_MS.read, readOwn(store, keysUnder(prefix), held), signal);
  if (!own || !follows(own, known) || !isUntouched(own.lease, held)) return undefined;
  const parsed = parseNetworkConfig(own.config.value);
  const decoded = decodeLease(prefix, own.lease);
  if (!parsed.ok || !decoded.ok) return undefined;
  const { config } = parsed;
  const kernel = await context.kernel();
  const survey = await surveyUnderlay(kernel, options, familiesOf(config), log);
  const { backendType: type } = config;
  const created = await createBackendHere(kernel, type, config.backend, familiesOf(config), survey.underlay);
  if (!created.ok || unfit(held, config, created.backend) !== undefined) return undefined;
  const { backend } = created;
  const macs = await prepareDevices(kernel, backend, held.attributes, context.macs(), context.rememberDevices);
  const attributes = { ...backend.advertise(macs), owner };
  if (!isAsPublished(held, attributes)) return undefined;
  const target = { relation: 'ours', lease: decoded.lease } as const;
  const ground = { intent: { target, removes: [], questions: [] }, attributes, side: own.side };
  const request = { self: owner, ttlSeconds: options.leaseTtl };
  const resuming = resume({ store, prefix, clock, log, signal }, request, ground);
  const resumed = await within(clock, PATIENCE_MS.renew, resuming, signal);
  if (!resumed || resumed === 'again') return undefined;
  const { publicIp } = survey.underlay;
  log.info('holding a lease', { subnet: held.subnet, subnet6: held.subnet6, publicIp, by: 'resumed', transactions: 0 });
  return { config, backend, held: resumed, macs, transactions: 0, fromMemorySince: undefined, ...survey };
}

/** After such a start: where the leases are not listed in time, the network goes by those that an earlier run knew. */
export async function recallUnlisted(
  { clock, log, remembered }: Pick<EarlyContext, 'clock' | 'log' | 'remembered'>,
  cluster: Pick<Cluster, 'version' | 'recall'>,
  signal: AbortSignal,
): Promise<void> {
  await clock.sleep(LISTED_WITHIN_MS, signal);
  if (cluster.version !== undefined) return;
  const read = await remembered.cluster();
  if (!read.ok) {
    log.warn('etcd does not list the leases, and those remembered can not be gone by', { reason: read.reason });
    return;
  }
  log.warn('etcd does not list the leases: going by those remembered', { leases: read.cluster.kvs.length });
  cluster.recall(read.cluster);
}

/** undefined where one of them is missing. */
async function readOwn(store: Store, keys: Keys, held: HeldLease): Promise<OwnKeys | undefined> {
  const { attributes } = held;
  const names = sideKeysOf(keys, attributes.owner.node, attributes, held);
  const { others, ...beside } = await readBeside(store, keys.prefix, names, [keys.config, held.key]);
  const [config, lease] = others;
  return config && lease && { ...beside, config, lease };
}

function isUntouched({ value, lease, modRevision }: KeyValue, held: HeldLease): boolean {
  return value === held.value && lease === held.etcdLease && modRevision === held.modRevision;
}

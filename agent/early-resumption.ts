/**
 * A restart that goes on with its lease before the leases are listed, which takes long where there are many: only the
 * config, our own key and those beside it are read, at one revision.
 *
 *   read ─▶ as remembered? ─▶ devices ─▶ renewed, and still there ─▶ held
 *              │ no, or etcd is slow       │ no                        the list follows
 *              └───────────────────────────┴────▶ as any other start
 *
 * That nobody else has our public IP or node id the keys beside the lease say: whoever takes one of these over replaces
 * its key. What stands among the leases besides is judged when they are listed, as for an agent that was never away.
 */
import { createBackend } from '../backends/backends.ts';
import { parseNetworkConfig } from '../config/network-config.ts';
import { decodeLease } from '../leases/codec.ts';
import type { HeldLease } from '../leases/held-lease.ts';
import { type Keys, keysUnder } from '../leases/registry.ts';
import { resume } from '../leases/resumption.ts';
import { identityKeys, type SideKey, sideKey, subnet6Keys } from '../leases/side-keys.ts';
import type { KeyValue, Store, StoreVersion } from '../leases/store.ts';
import { follows } from '../leases/store-trust.ts';
import { familiesOf } from './config-families.ts';
import type { Joined } from './joining.ts';
import { prepareDevices } from './own-devices.ts';
import type { RecollectionContext } from './recollection.ts';
import { isAsPublished, rememberedLease, unfit } from './remembered-lease.ts';
import { surveyUnderlay } from './underlay-survey.ts';

/** An etcd that has not answered by then is waited for as at any other start. */
const PATIENCE_MS = 300;

export interface EarlyContext
  extends Pick<RecollectionContext, 'options' | 'clock' | 'log' | 'owner' | 'macs' | 'remembered' | 'rememberDevices'> {
  readonly store: Store;
  readonly signal: AbortSignal;
  /** The store as an earlier run saw it. */
  readonly known: StoreVersion | undefined;
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
  const { options, clock, log, owner, remembered, store, signal, known } = context;
  const prefix = options.etcdPrefix;
  const memory = rememberedLease(remembered.held, { prefix, owner, now: clock.now() });
  // Without keys of ours beside it nothing but the leases themselves tells who else has our address.
  if (!memory.ok || memory.held.sideLease === undefined || !known) return undefined;
  const { held } = memory;
  const patience = new AbortController();
  const own = await Promise.race([
    readOwn(store, keysUnder(prefix), held),
    clock.sleep(PATIENCE_MS, AbortSignal.any([signal, patience.signal])).then(() => undefined),
  ]).finally(() => patience.abort());
  if (!own || !follows(own, known) || !isUntouched(own.lease, held)) return undefined;
  const parsed = parseNetworkConfig(own.config.value);
  const decoded = decodeLease(prefix, own.lease);
  if (!parsed.ok || !decoded.ok) return undefined;
  const { config } = parsed;
  const kernel = await context.kernel();
  const survey = await surveyUnderlay(kernel, options, familiesOf(config), log);
  const created = createBackend(config.backendType, config.backend, familiesOf(config), survey.underlay);
  if (!created.ok || unfit(held, config, created.backend) !== undefined) return undefined;
  const { backend } = created;
  const macs = await prepareDevices(kernel, backend, held.attributes, context.macs, context.rememberDevices);
  const attributes = { ...backend.advertise(macs), owner };
  if (!isAsPublished(held, attributes)) return undefined;
  const target = { relation: 'ours', lease: decoded.lease } as const;
  const ground = { intent: { target, removes: [], questions: [] }, attributes, side: own.side };
  const request = { self: owner, ttlSeconds: options.leaseTtl };
  const resumed = await resume({ store, prefix, clock, log, signal }, request, ground);
  if (!resumed || resumed === 'again') return undefined;
  const { publicIp } = survey.underlay;
  log.info('holding a lease', { subnet: held.subnet, subnet6: held.subnet6, publicIp, by: 'resumed', transactions: 0 });
  return { config, backend, held: resumed, macs, transactions: 0, fromMemorySince: undefined, ...survey };
}

/** undefined where one of them is missing. */
async function readOwn(store: Store, keys: Keys, held: HeldLease): Promise<OwnKeys | undefined> {
  const { attributes } = held;
  const names = [...identityKeys(keys, attributes.owner.node, attributes), ...subnet6Keys(keys, held)];
  const success = [keys.config, held.key, ...names.map(({ key }) => key)].map((get) => ({ get }));
  const { responses, ...version } = await store.txn({ compare: [], success, failure: [] });
  const [[config] = [], [lease] = [], ...beside] = responses;
  if (!config || !lease) return undefined;
  return { ...version, config, lease, side: names.map((name, i) => sideKey(keys.prefix, name, beside[i]?.[0])) };
}

function isUntouched({ value, lease, modRevision }: KeyValue, held: HeldLease): boolean {
  return value === held.value && lease === held.etcdLease && modRevision === held.modRevision;
}

/**
 * What this host remembers between runs, in `<state-dir>/state.json`: who it claims to be, what it held, and which kernel
 * objects and files it made (`tartan down` must find them with etcd gone). Never believed where it does not fit:
 *
 *     { "version": 1, "claim": "<32 hex digits>",
 *       "held": { "key", "value", "subnet", "subnet6", "publicIp", "etcdLease", "sideLease", "ttlSeconds", "expiresAt",
 *                 "modRevision", "clusterId", "seen": { "clusterId", "revision", "term" } },
 *       "macs": { "flannel.1": "c2:88:f0:5b:5f:ac" }, "networks": ["10.5.0.0/16"], "files": ["/run/flannel/subnet.env"],
 *       "journal": what was changed besides, see journal.ts, "hasRivals": true, or not there,
 *       "adoptedAt": when a flanneld's device was found here, ms, or not there,
 *       "sha256": "<of all that, without spaces>" }
 */
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Ip, Mac, Prefix } from '../config/address.ts';
import { parseIp, parseMac, parsePrefix } from '../config/address.ts';
import type { JsonObject } from '../config/go-json.ts';
import { isJsonObject } from '../config/go-json.ts';
import type { HeldLease } from '../leases/held-lease.ts';
import type { StoreVersion } from '../leases/store.ts';
import { writeFileAtomically } from './atomic-file.ts';
import { EMPTY_JOURNAL, formatJournal, type Journal, parseJournal } from './journal.ts';
import { type Damage, readOwnFile, setAside } from './own-file.ts';

const VERSION = 1;
const MAX_BYTES = 1 << 20;

/** `expiresAt` is null in the file where it is Infinity. */
export interface HeldState extends Omit<HeldLease, 'attributes'> {
  readonly publicIp: Ip | undefined;
  /** The store when it was last relied on; undefined: never. */
  readonly seen: StoreVersion | undefined;
}

export interface AgentMemory {
  /** Random id of this state directory. */
  readonly claim: string;
  readonly held: HeldState | undefined;
  /** Device name → MAC that we published for it; undefined (null in the file): it has none. */
  readonly macs: ReadonlyMap<string, Mac | undefined>;
  /** Cluster networks whose routes we may have made. */
  readonly networks: readonly Prefix[];
  /** What was published, by path. */
  readonly files: readonly string[];
  /** What `tartan down` puts back. */
  readonly journal: Journal;
  /** Whether other leases stand for this host too. */
  readonly hasRivals?: boolean;
  /** Wall clock, ms: when a device was found here that a flanneld had made. */
  readonly adoptedAt?: number;
}

export interface MemoryRead {
  readonly memory: AgentMemory;
  /** Why the file, or a part of it, was not believed. */
  readonly problem: string | undefined;
}

export function freshMemory(): AgentMemory {
  const claim = randomBytes(16).toString('hex');
  return { claim, held: undefined, macs: new Map(), networks: [], files: [], journal: EMPTY_JOURNAL };
}

function parseHeld(value: JsonObject): HeldState | undefined {
  const { key, value: text, etcdLease, clusterId, sideLease, publicIp } = value;
  const subnet = prefixIn(value['subnet']);
  const subnet6 = prefixIn(value['subnet6']);
  if (!subnet || typeof key !== 'string' || typeof text !== 'string' || typeof clusterId !== 'string') return undefined;
  if (!isLeaseId(etcdLease) || !(sideLease === undefined || isLeaseId(sideLease))) return undefined;
  const numbers = parseNumbers(value, etcdLease);
  if (!numbers) return undefined;
  return {
    ...{ key, value: text, etcdLease, sideLease, subnet, subnet6, clusterId, ...numbers },
    publicIp: typeof publicIp === 'string' ? parseIp(publicIp) : undefined,
    seen: parseVersion(value['seen']),
  };
}

/** Only a reservation, which has no etcd lease, never expires. */
function parseNumbers(
  { modRevision, ttlSeconds, expiresAt }: JsonObject,
  etcdLease: string,
): Pick<HeldState, 'modRevision' | 'ttlSeconds' | 'expiresAt'> | undefined {
  if (typeof modRevision !== 'number' || typeof ttlSeconds !== 'number') return undefined;
  if (etcdLease === '0') return { modRevision, ttlSeconds, expiresAt: Number.POSITIVE_INFINITY };
  return typeof expiresAt === 'number' ? { modRevision, ttlSeconds, expiresAt } : undefined;
}

function parseVersion(value: unknown): StoreVersion | undefined {
  const { clusterId, revision, term } = isJsonObject(value) ? value : {};
  if (typeof clusterId !== 'string' || typeof revision !== 'number') return undefined;
  return { clusterId, revision, ...(typeof term === 'number' && { term }) };
}

function isLeaseId(value: unknown): value is string {
  return typeof value === 'string' && /^\d{1,20}$/.test(value);
}

function prefixIn(value: unknown): Prefix | undefined {
  return typeof value === 'string' ? parsePrefix(value) : undefined;
}

function parseMacs(value: unknown): Map<string, Mac | undefined> {
  const macs = new Map<string, Mac | undefined>();
  for (const [dev, text] of Object.entries(isJsonObject(value) ? value : {})) {
    const mac = typeof text === 'string' ? parseMac(text) : undefined;
    if (mac || text === null) macs.set(dev, mac);
  }
  return macs;
}

/** The memory in the file's text (undefined: no file yet). Never throws. */
export function parseMemory(text: string | undefined): MemoryRead {
  if (text === undefined) return { memory: freshMemory(), problem: undefined };
  const nothing = (problem: string): MemoryRead => ({ memory: freshMemory(), problem });
  if (!text.endsWith('\n')) return nothing('it is cut off');
  try {
    const value: unknown = JSON.parse(text);
    if (!isJsonObject(value)) return nothing('it holds no JSON object');
    const { sha256, ...rest } = value;
    const { version, claim } = rest;
    if (version !== VERSION) return nothing(`its version is ${JSON.stringify(version)}, not ${VERSION}`);
    if (sha256 !== digest(rest)) return nothing('its checksum is wrong');
    if (typeof claim !== 'string' || !/^[0-9a-f]{32}$/.test(claim)) return nothing('it has no claim id');
    return parseRest(claim, rest);
  } catch {
    return nothing('it is no JSON');
  }
}

function parseRest(
  claim: string,
  { held, macs, networks, files, journal, hasRivals, adoptedAt }: JsonObject,
): MemoryRead {
  const parsed = isJsonObject(held) ? parseHeld(held) : undefined;
  const memory = {
    ...{ claim, held: parsed, macs: parseMacs(macs) },
    networks: (Array.isArray(networks) ? networks : []).flatMap((one) => prefixIn(one) ?? []),
    files: (Array.isArray(files) ? files : []).filter((one) => typeof one === 'string'),
    journal: parseJournal(journal),
    ...(hasRivals === true && { hasRivals }),
    ...(typeof adoptedAt === 'number' && { adoptedAt }),
  };
  const isOdd = held !== null && held !== undefined && !parsed;
  return { memory, problem: isOdd ? 'its lease makes no sense' : undefined };
}

export function formatMemory({ claim, held, macs, networks, files, journal, ...facts }: AgentMemory): string {
  const devices = Object.fromEntries(Array.from(macs, ([dev, mac]) => [dev, mac ?? null]));
  const made = { macs: devices, networks, files, journal: formatJournal(journal) };
  const { hasRivals, adoptedAt } = facts;
  const notes = { ...(hasRivals && { hasRivals }), ...(adoptedAt !== undefined && { adoptedAt }) };
  return seal({ version: VERSION, claim, held: held ?? null, ...made, ...notes });
}

/** The file's text, with the checksum by which it is believed. */
export function seal(value: JsonObject): string {
  return `${JSON.stringify({ ...value, sha256: digest(value) }, null, 2)}\n`;
}

function digest(value: JsonObject): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

export function stateFile(stateDir: string): string {
  return join(stateDir, 'state.json');
}

/** Reads the memory; a file that is not believed is kept beside as `state.json.damaged`. Never rejects. */
export async function loadMemory(stateDir: string): Promise<MemoryRead & { readonly damage: Damage | undefined }> {
  const path = stateFile(stateDir);
  const found = await readOwnFile(path, MAX_BYTES);
  const read =
    found && 'problem' in found ? { memory: freshMemory(), problem: found.problem } : parseMemory(found?.text);
  return { ...read, damage: read.problem === undefined ? undefined : await setAside(path, read.problem) };
}

/** Rejects with PERMISSION. */
export async function saveMemory(stateDir: string, memory: AgentMemory): Promise<void> {
  await writeFileAtomically(stateFile(stateDir), formatMemory(memory), 0o600);
}

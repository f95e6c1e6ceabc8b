/**
 * What this host remembers between runs, in `<state-dir>/state.json`: who it claims to be, what it held, and which kernel
 * objects and files it made (`tartan down` must find them with etcd gone). Never believed where it does not fit:
 *
 *     { "version": 1, "claim": "<32 hex digits>",
 *       "held": { "key", "value", "subnet", "subnet6", "publicIp", "etcdLease", "expiresAt", "clusterId", "revision" },
 *       "macs": { "flannel.1": "c2:88:f0:5b:5f:ac" }, "networks": ["10.5.0.0/16"], "files": ["/run/flannel/subnet.env"],
 *       "journal": what was changed besides, see journal.ts }
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Ip, Mac, Prefix } from '../config/address.ts';
import { parseIp, parseMac, parsePrefix } from '../config/address.ts';
import type { JsonObject } from '../config/go-json.ts';
import { isJsonObject } from '../config/go-json.ts';
import type { LeaseSubnets } from '../leases/lease.ts';
import { readTextFile, writeFileAtomically } from './atomic-file.ts';
import { EMPTY_JOURNAL, formatJournal, type Journal, parseJournal } from './journal.ts';

const VERSION = 1;

export interface HeldState extends LeaseSubnets {
  readonly key: string;
  readonly value: string;
  readonly etcdLease: string;
  /** Wall clock, ms; Infinity (null in the file) for a reservation. */
  readonly expiresAt: number;
  readonly publicIp: Ip | undefined;
  readonly clusterId: string;
  readonly revision: number;
}

export interface AgentMemory {
  /** Random id of this state directory. */
  readonly claim: string;
  readonly held: HeldState | undefined;
  /** Device name → MAC that we published for it. */
  readonly macs: ReadonlyMap<string, Mac>;
  /** Cluster networks whose routes we may have made. */
  readonly networks: readonly Prefix[];
  /** What was published, by path. */
  readonly files: readonly string[];
  /** What `tartan down` puts back. */
  readonly journal: Journal;
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
  const { key, value: text, etcdLease, expiresAt, publicIp, clusterId, revision } = value;
  const subnet = prefixIn(value['subnet']);
  const subnet6 = prefixIn(value['subnet6']);
  if (!subnet || typeof key !== 'string' || typeof text !== 'string' || typeof etcdLease !== 'string') return undefined;
  if (typeof clusterId !== 'string' || typeof revision !== 'number') return undefined;
  return {
    ...{ key, value: text, etcdLease, subnet, subnet6, clusterId, revision },
    expiresAt: typeof expiresAt === 'number' ? expiresAt : Number.POSITIVE_INFINITY,
    publicIp: typeof publicIp === 'string' ? parseIp(publicIp) : undefined,
  };
}

function prefixIn(value: unknown): Prefix | undefined {
  return typeof value === 'string' ? parsePrefix(value) : undefined;
}

function parseMacs(value: unknown): Map<string, Mac> {
  const macs = new Map<string, Mac>();
  for (const [dev, text] of Object.entries(isJsonObject(value) ? value : {})) {
    const mac = typeof text === 'string' ? parseMac(text) : undefined;
    if (mac) macs.set(dev, mac);
  }
  return macs;
}

/** The memory in the file's text (undefined: no file yet). Never throws. */
export function parseMemory(text: string | undefined): MemoryRead {
  if (text === undefined) return { memory: freshMemory(), problem: undefined };
  const nothing = (problem: string): MemoryRead => ({ memory: freshMemory(), problem });
  try {
    const value: unknown = JSON.parse(text);
    if (!isJsonObject(value)) return nothing('it holds no JSON object');
    const { version, claim } = value;
    if (version !== VERSION) return nothing(`its version is ${JSON.stringify(version)}, not ${VERSION}`);
    if (typeof claim !== 'string' || !/^[0-9a-f]{32}$/.test(claim)) return nothing('it has no claim id');
    return parseRest(claim, value);
  } catch {
    return nothing('it is no JSON');
  }
}

function parseRest(claim: string, { held, macs, networks, files, journal }: JsonObject): MemoryRead {
  const parsed = isJsonObject(held) ? parseHeld(held) : undefined;
  const memory = {
    ...{ claim, held: parsed, macs: parseMacs(macs) },
    networks: (Array.isArray(networks) ? networks : []).flatMap((one) => prefixIn(one) ?? []),
    files: (Array.isArray(files) ? files : []).filter((one) => typeof one === 'string'),
    journal: parseJournal(journal),
  };
  const isOdd = held !== null && held !== undefined && !parsed;
  return { memory, problem: isOdd ? 'its lease makes no sense' : undefined };
}

export function formatMemory({ claim, held, macs, networks, files, journal }: AgentMemory): string {
  const made = { macs: Object.fromEntries(macs), networks, files, journal: formatJournal(journal) };
  const value = { version: VERSION, claim, held: held ?? null, ...made };
  return `${JSON.stringify(value, null, 2)}\n`;
}

export function stateFile(stateDir: string): string {
  return join(stateDir, 'state.json');
}

/** Reads the memory; a file that is not believed is kept beside as `state.json.damaged`. */
export async function loadMemory(stateDir: string): Promise<MemoryRead> {
  const path = stateFile(stateDir);
  const text = await readTextFile(path);
  const read = parseMemory(text);
  if (read.problem !== undefined && text !== undefined) await writeFileAtomically(`${path}.damaged`, text, 0o600);
  return read;
}

export async function saveMemory(stateDir: string, memory: AgentMemory): Promise<void> {
  await writeFileAtomically(stateFile(stateDir), formatMemory(memory), 0o600);
}

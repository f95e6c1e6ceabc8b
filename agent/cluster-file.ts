/**
 * The cluster as this host last relied on it, in `<state-dir>/cluster.jsonl`: by it an agent starts without etcd. One
 * JSON value a line; a file without the last line, or with another checksum, is believed in no part:
 *
 *     {"version":1,"prefix":"/coreos.com/network","clusterId":"14841…","revision":12,"savedAt":1800000000000,
 *      "config":"{\"Network\":\"10.5.0.0/16\"}"}
 *     {"key":"/coreos.com/network/subnets/10.5.1.0-24","value":"{…}","createRevision":5,"modRevision":7,"lease":"7587…"}
 *     …
 *     {"sha256":"<of everything above>"}
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { toError } from '../config/errors.ts';
import type { JsonObject } from '../config/go-json.ts';
import { isJsonObject } from '../config/go-json.ts';
import type { StoredLease } from '../leases/lease.ts';
import type { KeyValue, StoreVersion } from '../leases/store.ts';
import { replaceFile } from './atomic-file.ts';
import { type Damage, readOwnFile, setAside } from './own-file.ts';

const VERSION = 1;
/** Ten thousand peers are 4 MB; somebody who writes huge values into etcd must not fill the disk. */
const MAX_BYTES = 64 << 20;
/** Leases that are formatted in one go: about a millisecond. */
const PIECE = 250;

interface ClusterFacts extends StoreVersion {
  /** Wall clock, ms: when the store was as it says. */
  readonly savedAt: number;
  /** Text of the network config that the agent worked by. */
  readonly config: string;
}

/** What is written down. */
export interface ClusterImage extends ClusterFacts {
  readonly leases: readonly StoredLease[];
}

/** What is read again: to be judged like anything that etcd says. */
export interface RememberedCluster extends ClusterFacts {
  readonly kvs: readonly KeyValue[];
}

export type ClusterRead =
  | { readonly ok: true; readonly cluster: RememberedCluster }
  | { readonly ok: false; readonly reason: string; readonly damage?: Damage };

function lineOf({ key, value, createRevision, modRevision, etcdLease }: StoredLease): string {
  return `${JSON.stringify({ key, value, createRevision, modRevision, lease: etcdLease })}\n`;
}

/** The file's text in pieces, each the work of about a millisecond. */
export function* formatCluster(prefix: string, image: ClusterImage): Generator<string> {
  const { clusterId, revision, savedAt, config, leases } = image;
  const hash = createHash('sha256');
  let piece = `${JSON.stringify({ version: VERSION, prefix, clusterId, revision, savedAt, config })}\n`;
  for (let from = 0; from < leases.length; from += PIECE) {
    piece += leases
      .slice(from, from + PIECE)
      .map(lineOf)
      .join('');
    hash.update(piece);
    yield piece;
    piece = '';
  }
  hash.update(piece);
  yield `${piece}${JSON.stringify({ sha256: hash.digest('hex') })}\n`;
}

function parseHeader(prefix: string, header: unknown): ClusterFacts | string {
  if (!isJsonObject(header)) return 'it does not say what it is';
  const { version, clusterId, revision, savedAt, config } = header;
  if (version !== VERSION) return `its version is ${JSON.stringify(version)}, not ${VERSION}`;
  if (header['prefix'] !== prefix) return `it is of the prefix ${JSON.stringify(header['prefix'])}`;
  if (typeof clusterId !== 'string' || typeof revision !== 'number') return 'it does not say of which store it is';
  if (typeof savedAt !== 'number' || typeof config !== 'string') return 'it lacks the network config';
  return { clusterId, revision, savedAt, config };
}

function parseKeyValue({ key, value, createRevision, modRevision, lease }: JsonObject): KeyValue | undefined {
  if (typeof key !== 'string' || typeof value !== 'string' || typeof lease !== 'string') return undefined;
  if (typeof createRevision !== 'number' || typeof modRevision !== 'number') return undefined;
  return { key, value, createRevision, modRevision, lease };
}

function isWhole(body: string, trailer: string): boolean {
  return trailer === `${JSON.stringify({ sha256: createHash('sha256').update(body).digest('hex') })}\n`;
}

/** Never throws. */
export function parseCluster(prefix: string, text: string): ClusterRead {
  const end = text.lastIndexOf('\n', text.length - 2) + 1;
  const body = text.slice(0, end);
  if (!isWhole(body, text.slice(end))) return { ok: false, reason: 'it is cut off or its checksum is wrong' };
  try {
    const [header, ...lines] = body.split('\n').slice(0, -1);
    const facts = parseHeader(prefix, JSON.parse(header ?? ''));
    if (typeof facts === 'string') return { ok: false, reason: facts };
    const kvs = lines.flatMap((line) => {
      const value: unknown = JSON.parse(line);
      return (isJsonObject(value) ? parseKeyValue(value) : undefined) ?? [];
    });
    if (kvs.length < lines.length) return { ok: false, reason: 'it holds what is no lease' };
    return { ok: true, cluster: { ...facts, kvs } };
  } catch (error) {
    return { ok: false, reason: toError(error).message };
  }
}

export function clusterFile(stateDir: string): string {
  return join(stateDir, 'cluster.jsonl');
}

/** Reads the file; one that is not believed is kept beside as `cluster.jsonl.damaged`. Never rejects. */
export async function loadCluster(stateDir: string, prefix: string): Promise<ClusterRead> {
  const path = clusterFile(stateDir);
  const found = await readOwnFile(path, MAX_BYTES);
  if (!found) return { ok: false, reason: `there is no ${path} yet` };
  const read = 'problem' in found ? { ok: false as const, reason: found.problem } : parseCluster(prefix, found.text);
  return read.ok ? read : { ok: false, reason: read.reason, damage: await setAside(path, read.reason) };
}

function* limited(pieces: Iterable<string>): Generator<string> {
  let bytes = 0;
  for (const piece of pieces) {
    bytes += Buffer.byteLength(piece);
    if (bytes > MAX_BYTES) throw new RangeError(`the leases take more than ${MAX_BYTES} bytes`);
    yield piece;
  }
}

/** In pieces, so that nothing waits for ten thousand peers to be written. Rejects with PERMISSION. */
export async function saveCluster(stateDir: string, prefix: string, image: ClusterImage): Promise<void> {
  await replaceFile(clusterFile(stateDir), limited(formatCluster(prefix, image)), 0o600);
}

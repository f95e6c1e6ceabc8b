/**
 * V8's compiled code of a script, kept in a file between runs:
 *
 *   | SHA-256 of all that follows | SHA-256 of whose code it is | what V8 gave |
 *   0                             32                            64
 *
 * Taken only whole, from a file that nobody but root or ourselves could have written. V8 itself looks at little more than
 * the length of the script, and trusts the bytes.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats, statSync } from 'node:fs';
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

const DIGEST_BYTES = 32;
/** Writable by the group or by others. */
const OTHERS_WRITE = 0o022;

function digest(...parts: readonly (string | Buffer)[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** V8 takes code from the same version of itself with the same flags, and for a script of the same length. */
export interface Whose {
  /** What tells the script from every other one. */
  readonly script: string;
  /** What tells the Node. */
  readonly runtime: string;
}

/** What `codeFile` names, and what `keepCode` was writing when it was killed. */
export const CODE_FILE = /^main\.[0-9a-f]+\.code(\.\d+)?$/;

/** One for each Node and its flags. */
export function codeFile(runtime: string): string {
  return `main.${digest(runtime).toString('hex').slice(0, 8)}.code`;
}

/** Where systemd has this service's cache (CacheDirectory=), systemd.exec(5); of several, the first. */
export function cacheDirectory(): string | undefined {
  return process.env['CACHE_DIRECTORY']?.split(':')[0];
}

function nameOf({ script, runtime }: Whose): Buffer {
  return digest(JSON.stringify([script, runtime]));
}

function isTrusted({ uid, mode }: Stats): boolean {
  return (uid === 0 || uid === process.geteuid?.()) && (mode & OTHERS_WRITE) === 0;
}

/** The code as `keepCode` wrote it for the same script and Node; undefined: there is none, or none to be trusted. */
export function keptCode(path: string, whose: Whose): Buffer | undefined {
  let fd: number | undefined;
  try {
    if (!isTrusted(statSync(dirname(path)))) return undefined;
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = fstatSync(fd);
    if (!stats.isFile() || !isTrusted(stats)) return undefined;
    const content = readFileSync(fd);
    const sealed = content.subarray(DIGEST_BYTES);
    const isWhole = digest(sealed).equals(content.subarray(0, DIGEST_BYTES));
    return isWhole && nameOf(whose).equals(sealed.subarray(0, DIGEST_BYTES))
      ? sealed.subarray(DIGEST_BYTES)
      : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/**
 * Never in the way of what else is to be done: the disk may hang.
 * @returns whether it could be kept: not where others may write, nor on a read-only file system. Never rejects.
 */
export async function keepCode(path: string, whose: Whose, code: Buffer): Promise<boolean> {
  const name = nameOf(whose);
  const beside = `${path}.${process.pid}`;
  try {
    if (!isTrusted(await stat(dirname(path)))) return false;
    await writeFile(beside, Buffer.concat([digest(name, code), name, code]), { flag: 'wx', mode: 0o644 });
    await rename(beside, path);
    return true;
  } catch {
    await rm(beside, { force: true }).catch(() => undefined);
    return false;
  }
}

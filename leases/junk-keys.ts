import { createHash } from 'node:crypto';
import { excerpt } from './excerpt.ts';

const MAX_LISTED = 1000;
const MAX_COUNTED = 100_000;
const MAX_KEY_CHARACTERS = 128;

/**
 * Keys that are no leases, and why. Whoever can write to etcd can write any number of them, each up to 1.5 MB long: only
 * so many are listed, so many more are counted, and of a long key only its beginning and a digest are kept.
 */
export class JunkKeys {
  readonly #listed = new Map<string, string>();
  readonly #counted = new Set<string>();

  /** How many there are; at the limit: at least so many. */
  get size(): number {
    return this.#listed.size + this.#counted.size;
  }

  /** Key (shortened) and reason. */
  get listed(): ReadonlyMap<string, string> {
    return this.#listed;
  }

  has(key: string): boolean {
    const id = idOf(key);
    return this.#listed.has(id) || this.#counted.has(id);
  }

  add(key: string, reason: string): void {
    const id = idOf(key);
    if (this.#listed.has(id) || (this.#listed.size < MAX_LISTED && !this.#counted.has(id)))
      this.#listed.set(id, reason);
    else if (this.#counted.size < MAX_COUNTED) this.#counted.add(id);
  }

  delete(key: string): void {
    if (this.size === 0) return;
    const id = idOf(key);
    if (!this.#listed.delete(id)) this.#counted.delete(id);
  }
}

/** The key itself if it is short and printable. */
function idOf(key: string): string {
  if (key.length <= MAX_KEY_CHARACTERS && /^[\x20-\x7e]*$/.test(key)) return key;
  return `${excerpt(key, 64)} (sha256 ${createHash('sha256').update(key).digest('hex').slice(0, 16)})`;
}

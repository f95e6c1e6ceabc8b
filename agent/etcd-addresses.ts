import type { Ip } from '../config/address.ts';
import { parseIp } from '../config/address.ts';
import type { Clock } from '../config/clock.ts';

const LOOK_MS = 60_000;

/** All addresses of a host name. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/**
 * The addresses behind etcd's endpoints, which no peer's subnet may hold: the connection would end in the tunnel. Names
 * are resolved as the connections resolve them, again and again; what did not resolve stays as it was.
 */
export class EtcdAddresses {
  readonly #hosts: readonly string[];
  readonly #resolve: Resolve;
  readonly #known: Map<string, readonly Ip[]>;
  /** Called when `current` has become another list. */
  onChange: () => void = () => undefined;

  constructor(endpoints: readonly string[], resolve: Resolve = resolveBySystem) {
    this.#hosts = endpoints.flatMap((url) => (URL.canParse(url) ? bare(new URL(url).hostname) : []));
    this.#known = new Map(this.#hosts.map((host) => [host, literal(host)]));
    this.#resolve = resolve;
  }

  get current(): readonly Ip[] {
    return [...new Set([...this.#known.values()].flat())];
  }

  /** Returns never but by rejection: the signal's reason. */
  async follow(clock: Clock, signal: AbortSignal): Promise<never> {
    const names = this.#hosts.filter((host) => literal(host).length === 0);
    for (;;) {
      const before = String(this.current);
      await Promise.all(names.map((name) => this.#look(name)));
      if (String(this.current) !== before) this.onChange();
      await clock.sleep(names.length === 0 ? 2 ** 31 - 1 : LOOK_MS, signal);
    }
  }

  async #look(name: string): Promise<void> {
    const found = await this.#resolve(name).catch(() => []);
    const addresses = found.flatMap((text) => parseIp(text) ?? []).sort();
    if (addresses.length > 0) this.#known.set(name, addresses);
  }
}

async function resolveBySystem(host: string): Promise<readonly string[]> {
  const { lookup } = await import('node:dns/promises');
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '');
}

function literal(host: string): readonly Ip[] {
  return [parseIp(host) ?? []].flat();
}

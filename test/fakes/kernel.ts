/** A kernel in memory: the tables of Linux behind the contract of kernel.ts, with failures on demand. */

import { isHeard } from '../../backends/kernel/echo-filter.ts';
import type { Kernel, KernelEvent, KernelRefusal, RouteLookup } from '../../backends/kernel/kernel.ts';
import { formatOperation } from '../../backends/operation-text.ts';
import { isTartanId } from '../../backends/ownership.ts';
import type {
  AddressInfo,
  FdbEntry,
  LinkInfo,
  Neighbour,
  Nexthop,
  Observed,
  Operation,
  RouteInfo,
} from '../../backends/state.ts';
import { keyOf } from '../../backends/state.ts';
import type { Family, Ip, Prefix } from '../../config/address.ts';
import { containsPrefix, familyOf, prefixLength } from '../../config/address.ts';
import { TartanError } from '../../config/errors.ts';
import { KernelTables } from './kernel-tables.ts';

export type Call =
  | 'links'
  | 'addresses'
  | 'neighbours'
  | 'fdb'
  | 'nexthops'
  | 'nexthopIds'
  | 'routes'
  | 'lookup'
  | 'apply';

export class FakeKernel implements Kernel {
  readonly tables = new KernelTables((event) => this.#report(event));
  /** False: older than 5.3. */
  hasNexthops = true;
  /** How often each call was made, and every operation that was asked for. */
  calls: Call[] = [];
  operations: string[] = [];
  /** False: one without the vxlan module. */
  makesVxlan = true;
  /** Asked about every operation; an answer refuses it. */
  refuses: (operation: Operation) => KernelRefusal | undefined = () => undefined;
  /** Called in the middle of each call: after a table was read, before its reader gets it; before each operation. */
  meanwhile: (call: Call) => void = () => undefined;
  /** How long a reading takes. */
  takes: (call: Call) => Promise<void> = () => Promise.resolve();
  /** Events are reported when they happen, or a turn of the loop later. */
  isLate = false;
  /** Events get lost; the reader is told so, or not even that. */
  loses: 'none' | 'told' | 'silently' = 'none';
  #handlers: ((event: KernelEvent) => void)[] = [];
  /** Key of what is being done by us, and nobody is told of. */
  #unheard: string | undefined;
  readonly #failing: Call[] = [];

  /** The next call of that kind rejects, as where the socket is gone. */
  failNext(...calls: readonly Call[]): void {
    this.#failing.push(...calls);
  }

  /** No call is to reject any more. */
  recover(): void {
    this.#failing.length = 0;
  }

  forget(): void {
    this.calls = [];
    this.operations = [];
  }

  async knowsVxlan(): Promise<boolean> {
    return this.makesVxlan;
  }

  links(): Promise<LinkInfo[]> {
    return this.#read('links', () => [...this.tables.links.values()]);
  }

  addresses(family: Family): Promise<AddressInfo[]> {
    return this.#read('addresses', () => this.tables.addresses.filter(({ ip }) => familyOf(ip) === family));
  }

  neighbours(dev: string, family: Family): Promise<Observed<Neighbour>[]> {
    return this.#read('neighbours', () =>
      this.tables.neighbours.filter(({ object }) => object.dev === dev && familyOf(object.ip) === family),
    );
  }

  fdb(dev: string): Promise<Observed<FdbEntry>[]> {
    return this.#read('fdb', () => this.tables.fdb.filter(({ object }) => object.dev === dev));
  }

  nexthops(): Promise<Observed<Nexthop>[] | undefined> {
    return this.#read('nexthops', () =>
      this.hasNexthops ? [...this.tables.nexthops.values()].filter((found) => found !== undefined) : undefined,
    );
  }

  nexthopIds(): Promise<ReadonlySet<number>> {
    return this.#read('nexthopIds', () => new Set(this.tables.nexthops.keys()));
  }

  routes(family: Family, within?: readonly Prefix[]): Promise<RouteInfo[]> {
    const isWanted = ({ dst, nexthopId }: RouteInfo): boolean =>
      within === undefined ||
      (nexthopId !== undefined && isTartanId(nexthopId)) ||
      within.some((network) => containsPrefix(network, dst));
    return this.#read('routes', () => this.tables.routes.filter((route) => route.family === family && isWanted(route)));
  }

  defaultRoutes(family: Family): Promise<RouteInfo[]> {
    return this.#read('routes', () =>
      this.tables.routes.filter((route) => route.family === family && prefixLength(route.dst) === 0),
    );
  }

  lookup(ips: readonly Ip[]): Promise<(RouteLookup | undefined)[]> {
    return this.#read('lookup', () => ips.map((ip) => this.tables.lookup(ip)));
  }

  async apply(operations: readonly Operation[]): Promise<(KernelRefusal | undefined)[]> {
    this.#count('apply');
    const results: (KernelRefusal | undefined)[] = [];
    for (const operation of operations) {
      await undefined;
      this.meanwhile('apply');
      this.operations.push(formatOperation(operation));
      results.push(this.refuses(operation) ?? this.#do(operation));
    }
    return results;
  }

  async monitor(handler: (event: KernelEvent) => void): Promise<void> {
    this.#handlers.push(handler);
  }

  close(): void {
    this.#handlers = [];
  }

  #do(operation: Operation): KernelRefusal | undefined {
    const { verb, object, protocol } = operation;
    this.#unheard = isHeard(operation) ? undefined : keyOf(object);
    try {
      if (verb !== 'delete') return this.tables.set(verb, object);
      this.tables.delete(object, protocol);
      return undefined;
    } finally {
      this.#unheard = undefined;
    }
  }

  async #read<T>(call: Call, read: () => T): Promise<T> {
    this.#count(call);
    const found = read();
    await this.takes(call);
    this.meanwhile(call);
    return found;
  }

  #count(call: Call): void {
    this.calls.push(call);
    const at = this.#failing.indexOf(call);
    if (at < 0) return;
    this.#failing.splice(at, 1);
    throw new TartanError('KERNEL', 'the fake kernel does not answer');
  }

  #report(event: KernelEvent): void {
    if (this.loses === 'silently') return;
    if ('observed' in event && keyOf(event.observed.object) === this.#unheard) return;
    const told: KernelEvent = this.loses === 'told' ? { verb: 'lost' } : event;
    const tell = (): void => {
      for (const handler of this.#handlers) handler(told);
    };
    if (this.isLate) setImmediate(tell);
    else tell();
  }
}

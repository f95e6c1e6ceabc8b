import type { Family, Ip, Prefix } from '../../config/address.ts';
import { TartanError } from '../../config/errors.ts';
import type { Log } from '../../config/log.ts';
import { turnOfLoop } from '../../config/turn-of-loop.ts';
import {
  type AddressInfo,
  type FdbEntry,
  type LinkInfo,
  MAIN_TABLE,
  type Neighbour,
  type Nexthop,
  type Observed,
  type Operation,
  type RouteInfo,
} from '../state.ts';
import { decodeAddress, encodeAddressDump } from './address-message.ts';
import { DeviceTable } from './device-table.ts';
import { errnoName } from './errno.ts';
import type { Kernel, KernelEvent, KernelRefusal, RouteLookup } from './kernel.ts';
import { encodeLinkDump, encodeVxlanQuestion } from './link-message.ts';
import type { Message, NameOf } from './message.ts';
import { MessageWriter } from './message-writer.ts';
import { Monitor } from './monitor.ts';
import {
  decodeFdbEntry,
  decodeNeighbour,
  encodeFdbDump,
  encodeNeighbourDump,
  isOfFamily,
} from './neighbour-message.ts';
import { type EncodeDump, NetlinkSocket } from './netlink-socket.ts';
import { decodeNexthop, encodeNexthopDump, nexthopIdIn } from './nexthop-message.ts';
import { Programmer } from './programmer.ts';
import { isDefaultRoute, routeFilter } from './route-filter.ts';
import { decodeLookup, decodeRoute, encodeRouteDump, encodeRouteLookup } from './route-message.ts';

const REQUEST_SOCKET = { bufferBytes: 4 << 20, datagramBytes: 4096 };
/** The kernel fills as much of a dump into one datagram as the reader has room for, up to 32 kB. */
const DUMP_SOCKET = { bufferBytes: 4 << 20, datagramBytes: 32768 };
const NO_ANSWER = 'ETIMEDOUT';
const LOOKUPS_PER_SEND = 64;
/** So many messages are decoded in some milliseconds; then others have their turn. */
const DECODED_PER_TURN = 500;

/**
 * The kernel of the network namespace that the process is in. Throws TartanError KERNEL where no socket can be had.
 * To be closed by the caller; it keeps the process alive until then.
 */
export async function openKernel(log: Log): Promise<Kernel> {
  const kernel = new LinuxKernel(log);
  try {
    await kernel.links();
    return kernel;
  } catch (error) {
    kernel.close();
    throw error;
  }
}

class LinuxKernel implements Kernel {
  readonly #log: Log;
  readonly #requests: NetlinkSocket;
  readonly #dumps: NetlinkSocket;
  readonly #devices = new DeviceTable();
  readonly #programmer: Programmer;
  readonly #handlers: ((event: KernelEvent) => void)[] = [];
  #monitor: Monitor | undefined;
  #knowsVxlan: boolean | undefined;

  constructor(log: Log) {
    this.#log = log;
    this.#requests = new NetlinkSocket(log, REQUEST_SOCKET);
    this.#dumps = new NetlinkSocket(log, DUMP_SOCKET);
    this.#programmer = new Programmer(this.#requests, this.#devices, () => this.links());
  }

  async knowsVxlan(): Promise<boolean> {
    this.#knowsVxlan ??= await this.#askForVxlan();
    return this.#knowsVxlan;
  }

  /** The device asked for is an impossible one; only who does not know the kind at all says so. */
  async #askForVxlan(): Promise<boolean> {
    const refusal = await this.#programmer.ask(encodeVxlanQuestion);
    if (refusal?.errno === NO_ANSWER) throw unanswered('a question for vxlan devices');
    return refusal?.errno !== 'EOPNOTSUPP';
  }

  async links(): Promise<LinkInfo[]> {
    const links = this.#devices.replace(await this.#dump(encodeLinkDump));
    this.#devices.takeMissed();
    return links;
  }

  async addresses(family: Family): Promise<AddressInfo[]> {
    const dump = await this.#dump((writer, flags) => encodeAddressDump(writer, flags, family));
    return this.#decode(dump, decodeAddress);
  }

  async neighbours(dev: string, family: Family): Promise<Observed<Neighbour>[]> {
    const index = await this.#indexOf(dev);
    if (index === undefined) return [];
    const dump = await this.#dump((writer, flags) => encodeNeighbourDump(writer, flags, family, index));
    const found = await this.#decode(dump, decodeNeighbour);
    return found.filter((entry) => entry.object.dev === dev && isOfFamily(entry, family));
  }

  async fdb(dev: string): Promise<Observed<FdbEntry>[]> {
    const index = await this.#indexOf(dev);
    if (index === undefined) return [];
    const dump = await this.#dump((writer, flags) => encodeFdbDump(writer, flags, index));
    const found = await this.#decode(dump, decodeFdbEntry);
    return found.filter((entry) => entry.object.dev === dev);
  }

  async nexthops(): Promise<Observed<Nexthop>[] | undefined> {
    const dump = await this.#nexthopDump();
    return dump && this.#decode(dump, decodeNexthop);
  }

  async nexthopIds(): Promise<ReadonlySet<number>> {
    const dump = await this.#nexthopDump();
    return new Set((dump ?? []).flatMap((message) => nexthopIdIn(message) ?? []));
  }

  async #nexthopDump(): Promise<Message[] | undefined> {
    const dump = await this.#dumps.dump(encodeNexthopDump);
    if (Array.isArray(dump)) return dump;
    if (errnoName(dump.errno) === 'EOPNOTSUPP') return undefined;
    throw refusedDump(dump.errno);
  }

  routes(family: Family, within?: readonly Prefix[]): Promise<RouteInfo[]> {
    return this.#routes(family, within && routeFilter(within));
  }

  defaultRoutes(family: Family): Promise<RouteInfo[]> {
    return this.#routes(family, isDefaultRoute);
  }

  async #routes(family: Family, isWanted: ((body: Buffer) => boolean) | undefined): Promise<RouteInfo[]> {
    const encode: EncodeDump = (writer, flags) => encodeRouteDump(writer, flags, family);
    const result = await this.#dumps.dump(encode, { isStrict: true, ...(isWanted && { isWanted }) });
    // A strict kernel says so where the table asked for does not exist yet, in a namespace without any route.
    if (!Array.isArray(result) && errnoName(result.errno) === 'ENOENT') return [];
    if (!Array.isArray(result)) throw refusedDump(result.errno);
    const found = await this.#decode(result, decodeRoute);
    return found.filter(({ table, info }) => table === MAIN_TABLE && info.family === family).map(({ info }) => info);
  }

  async lookup(ips: readonly Ip[]): Promise<(RouteLookup | undefined)[]> {
    const answers: (Message | undefined)[] = [];
    for (let start = 0; start < ips.length; start += LOOKUPS_PER_SEND) {
      answers.push(...(await this.#lookupBatch(ips.slice(start, start + LOOKUPS_PER_SEND))));
    }
    const decode = (): (RouteLookup | undefined)[] =>
      answers.map((answer) => answer && decodeLookup(answer, this.#devices.nameOf));
    const first = decode();
    if (!this.#devices.takeMissed()) return first;
    await this.links();
    return decode();
  }

  async #lookupBatch(ips: readonly Ip[]): Promise<(Message | undefined)[]> {
    const writer = new MessageWriter(LOOKUPS_PER_SEND * 64);
    writer.reset(this.#requests.reserve(ips.length));
    for (const ip of ips) encodeRouteLookup(writer, ip);
    const reply = await this.#requests.batch(writer);
    if (!reply.complete) {
      throw unanswered('a route lookup');
    }
    return ips.map((_, place) => reply.answers.get(place));
  }

  apply(operations: readonly Operation[]): Promise<(KernelRefusal | undefined)[]> {
    return this.#programmer.apply(operations);
  }

  async monitor(handler: (event: KernelEvent) => void): Promise<void> {
    this.#handlers.push(handler);
    this.#monitor ??= new Monitor(this.#log, this.#devices, this.#requests.port, (event) => {
      for (const each of this.#handlers) each(event);
    });
    this.#programmer.isWatched = true;
    // What changed between the last read of the devices and the first event that can be heard.
    await this.links();
  }

  close(): void {
    this.#monitor?.close();
    this.#requests.close();
    this.#dumps.close();
  }

  async #indexOf(dev: string): Promise<number | undefined> {
    if (this.#devices.indexOf(dev) === undefined) await this.links();
    return this.#devices.indexOf(dev);
  }

  async #dump(encode: EncodeDump): Promise<Message[]> {
    const result = await this.#dumps.dump(encode);
    if (!Array.isArray(result)) throw refusedDump(result.errno);
    return result;
  }

  /** Decodes, and once more with a fresh table of devices where an index was unknown. */
  async #decode<T>(
    dump: readonly Message[],
    decode: (message: Message, nameOf: NameOf) => T | undefined,
  ): Promise<T[]> {
    let isMissed = false;
    const nameOf: NameOf = (index) => {
      const name = this.#devices.nameOf(index);
      isMissed ||= name === undefined && index > 0;
      return name;
    };
    const first = await decodeInTurns(dump, (message) => decode(message, nameOf));
    if (!isMissed) return first;
    await this.links();
    return decodeInTurns(dump, (message) => decode(message, nameOf));
  }
}

async function decodeInTurns<T>(dump: readonly Message[], decode: (message: Message) => T | undefined): Promise<T[]> {
  const found: T[] = [];
  for (const [place, message] of dump.entries()) {
    if (place % DECODED_PER_TURN === DECODED_PER_TURN - 1) await turnOfLoop();
    const one = decode(message);
    if (one !== undefined) found.push(one);
  }
  return found;
}

function unanswered(what: string): TartanError {
  return new TartanError('KERNEL', `no answer to ${what}`, { data: { errno: NO_ANSWER } });
}

function refusedDump(errno: number): TartanError {
  const name = errnoName(errno);
  return new TartanError('KERNEL', `the kernel refused a dump: ${name}`, { data: { errno: name } });
}

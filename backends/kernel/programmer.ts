import { turnOfLoop } from '../../config/turn-of-loop.ts';
import type { Link, LinkInfo, Operation, TunLink, VxlanLink } from '../state.ts';
import type { DeviceTable } from './device-table.ts';
import { isHeard } from './echo-filter.ts';
import { errnoName } from './errno.ts';
import type { KernelRefusal } from './kernel.ts';
import {
  encodeLinkChange,
  encodeLinkDelete,
  encodeLinkRename,
  encodeNewVxlan,
  encodeVxlanChange,
  type LinkChange,
  type VxlanChange,
} from './link-message.ts';
import { isAstray, linkStep } from './link-step.ts';
import { MessageWriter } from './message-writer.ts';
import type { BatchReply, NetlinkSocket } from './netlink-socket.ts';
import { deviceNeeded, encodeOperation, isDoneAnyway } from './operation-message.ts';
import { setSysctl } from './sysctl.ts';
import { makeTun } from './tun.ts';

const MESSAGES_PER_SEND = 128;
/** The longest message in a batch is an IPv6 route or address, below 80 bytes. A new link goes alone. */
const BATCH_BYTES = MESSAGES_PER_SEND * 128;
/** A turn of the loop reads so many datagrams of a socket: enough turns after each send keep the monitor in step. */
const HEARD_PER_TURN = 32;

const IN_THE_WAY: KernelRefusal = { errno: 'EEXIST', detail: '' };
const NO_DEVICE: KernelRefusal = { errno: 'ENODEV', detail: '' };
/** How a kernel before 4.12 says that it makes vxlan devices, but changes none. */
const UNCHANGEABLE = 'EOPNOTSUPP';
const NO_ANSWER: KernelRefusal = { errno: 'ETIMEDOUT', detail: '' };

type Results = (KernelRefusal | undefined)[];

/** What a list of operations is worked off with. */
interface Tools {
  readonly socket: NetlinkSocket;
  readonly devices: DeviceTable;
  readonly writer: MessageWriter;
  /** Reads every device, into `devices` too. */
  readonly readLinks: () => Promise<LinkInfo[]>;
  /** Lets the event loop turn between two sends, until what `heard` operations make the kernel tell us has been read. */
  readonly pause: (heard: number) => Promise<void>;
}

/** Turns operations into batches of messages and the kernel's answers into results. */
export class Programmer {
  readonly #tools: Tools;
  #turn: Promise<unknown> = Promise.resolve();
  /** Whether somebody listens to the changes that we make. */
  isWatched = false;

  constructor(socket: NetlinkSocket, devices: DeviceTable, readLinks: () => Promise<LinkInfo[]>) {
    this.#tools = {
      socket,
      devices,
      writer: new MessageWriter(BATCH_BYTES),
      readLinks,
      pause: (heard) => this.#pause(heard),
    };
  }

  /** One list at a time: one that began earlier is done before the next begins. */
  apply(operations: readonly Operation[]): Promise<Results> {
    return this.#inTurn((run) => run.all(operations));
  }

  /** Sends one message, which changes nothing. @returns how the kernel refused it. */
  ask(encode: (writer: MessageWriter) => void): Promise<KernelRefusal | undefined> {
    return this.#inTurn((run) => run.one(encode));
  }

  #inTurn<T>(work: (run: Run) => Promise<T>): Promise<T> {
    const done = this.#turn.then(() => work(new Run(this.#tools)));
    this.#turn = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  async #pause(heard: number): Promise<void> {
    const turns = this.isWatched ? Math.ceil(heard / HEARD_PER_TURN) : 0;
    for (let left = Math.max(1, turns); left > 0; left--) await turnOfLoop();
  }
}

/** One list of operations on its way. */
class Run {
  readonly #tools: Tools;
  readonly #writer: MessageWriter;
  readonly #results: Results = [];
  /** What has been written since the last send, and where the results belong. */
  #written: { readonly operation: Operation; readonly place: number }[] = [];
  #linksAreFresh = false;

  constructor(tools: Tools) {
    this.#tools = tools;
    this.#writer = tools.writer;
  }

  async all(operations: readonly Operation[]): Promise<Results> {
    this.#begin();
    for (const [place, operation] of operations.entries()) {
      const { verb, object } = operation;
      this.#results.push(undefined);
      if (object.kind === 'link' && verb !== 'delete') {
        await this.#send();
        this.#results[place] = await this.#applyLink(verb, object);
        this.#linksAreFresh = false;
        continue;
      }
      const index = this.#indexFor(operation) ?? (await this.#lookForDevice(operation));
      if (index === undefined) this.#results[place] = verb === 'delete' ? undefined : NO_DEVICE;
      else this.#write(operation, place, index);
      if (this.#written.length === MESSAGES_PER_SEND) await this.#send();
    }
    await this.#send();
    return this.#results;
  }

  /** A message by itself. */
  one(encode: (writer: MessageWriter) => void): Promise<KernelRefusal | undefined> {
    this.#begin();
    return this.#one(encode);
  }

  #begin(): void {
    this.#writer.reset(this.#tools.socket.reserve(MESSAGES_PER_SEND));
    this.#written = [];
  }

  #write(operation: Operation, place: number, index: number): void {
    encodeOperation(this.#writer, operation, index);
    this.#written.push({ operation, place });
  }

  #indexFor(operation: Operation): number | undefined {
    const dev = deviceNeeded(operation);
    return dev === undefined ? 0 : this.#tools.devices.indexOf(dev);
  }

  /** Reads the devices again, once per run, and after what is written: that may make or remove the one looked for. */
  async #lookForDevice(operation: Operation): Promise<number | undefined> {
    if (this.#linksAreFresh) return undefined;
    await this.#send();
    await this.#tools.readLinks();
    this.#linksAreFresh = true;
    return this.#indexFor(operation);
  }

  async #send(): Promise<void> {
    if (this.#written.length === 0) return;
    const written = this.#written;
    const reply = await this.#tools.socket.batch(this.#writer);
    for (const [at, { operation, place }] of written.entries()) {
      const refusal = refusalIn(reply, at);
      if (refusal !== undefined) this.#results[place] = this.#judge(operation, refusal);
      else if (operation.object.kind === 'link') this.#tools.devices.bury(operation.object.name);
    }
    this.#begin();
    await this.#tools.pause(written.filter(({ operation }) => isHeard(operation)).length);
    // Late events of a device that was there before, under the same name, may have been heard just now.
    this.#linksAreFresh = false;
  }

  /** An index that the kernel does not know any more is forgotten, so that the next run looks the name up again. */
  #judge(operation: Operation, refusal: KernelRefusal): KernelRefusal | undefined {
    const { verb, object } = operation;
    const dev = deviceNeeded(operation);
    const isStale = refusal.errno === 'ENODEV' || (object.kind === 'nexthop' && refusal.errno === 'EINVAL');
    if (dev !== undefined && isStale) this.#tools.devices.forget(dev);
    return isDoneAnyway(verb, object.kind, refusal.errno) ? undefined : refusal;
  }

  /** The devices are read anew: on an old name of the lower device a working one would be changed for nothing. */
  async #applyLink(verb: 'set' | 'create', link: Link): Promise<KernelRefusal | undefined> {
    const links = await this.#tools.readLinks();
    const named = links.find(({ name }) => name === link.name);
    if (verb === 'create' && named) return IN_THE_WAY;
    const found = verb === 'create' ? undefined : (named ?? (await this.#takeBack(link, links)));
    const next = linkStep(link, found);
    switch (next.step) {
      case 'none':
        return undefined;
      case 'make':
        return (await this.#deleteNamesake(link, links)) ?? (await this.#makeLink(link));
      case 'make anew':
        return this.#makeAnew(link);
      case 'change':
        return found && this.#changeLink(link, found.index, next.change);
    }
  }

  /** Gives our device its name again, where somebody has renamed it. */
  async #takeBack(link: Link, links: readonly LinkInfo[]): Promise<LinkInfo | undefined> {
    const astray = links.find((one) => isAstray(link, one));
    if (astray === undefined) return undefined;
    const { index } = astray;
    const refusal =
      (await this.#one((writer) => encodeLinkChange(writer, index, { up: false }))) ??
      (await this.#one((writer) => encodeLinkRename(writer, index, link.name)));
    if (refusal) return undefined;
    return (await this.#tools.readLinks()).find(({ name }) => name === link.name);
  }

  async #changeLink(link: Link, index: number, change: LinkChange): Promise<KernelRefusal | undefined> {
    const { vxlan, ...plain } = change;
    const refusal = vxlan && (await this.#changeVxlan(link, index, vxlan));
    if (refusal?.errno === UNCHANGEABLE) return this.#makeAnew(link);
    if (refusal || Object.keys(plain).length === 0) return refusal;
    return this.#one((writer) => encodeLinkChange(writer, index, plain, link.mac !== undefined));
  }

  async #changeVxlan(link: Link, index: number, change: VxlanChange): Promise<KernelRefusal | undefined> {
    const lower = change.lower === undefined ? undefined : this.#tools.devices.indexOf(change.lower);
    if (change.lower !== undefined && lower === undefined) return noLower(link);
    return await this.#one((writer) => encodeVxlanChange(writer, index, change, lower));
  }

  /** The kernel has one device of a VNI and port. Where that has our MAC too, it is ours under a name somebody gave it. */
  async #deleteNamesake({ name, mac, vxlan }: Link, links: readonly LinkInfo[]): Promise<KernelRefusal | undefined> {
    if (vxlan === undefined) return undefined;
    const renamed = links.find(
      (one) => one.mac === mac && one.vxlan?.vni === vxlan.vni && one.vxlan.port === vxlan.port,
    );
    return renamed === undefined || renamed.name === name ? undefined : await this.#deleteLink(renamed.name);
  }

  /** A device that can't be made again is not given up for it: it may still carry packets. */
  async #makeAnew(link: Link): Promise<KernelRefusal | undefined> {
    if (link.vxlan === undefined) return await this.#makeTun(link);
    if (this.#tools.devices.indexOf(link.vxlan.lower) === undefined) return noLower(link);
    return (await this.#deleteLink(link.name)) ?? (await this.#makeVxlan(link));
  }

  #makeLink(link: Link): Promise<KernelRefusal | undefined> {
    return link.vxlan === undefined ? this.#makeTun(link) : this.#makeVxlan(link);
  }

  async #makeVxlan(link: VxlanLink): Promise<KernelRefusal | undefined> {
    const lower = this.#tools.devices.indexOf(link.vxlan.lower);
    if (lower === undefined) return noLower(link);
    const refusal = await this.#one((writer) => encodeNewVxlan(writer, link, lower));
    if (refusal === undefined) refuseAdvertisements(link);
    return refusal;
  }

  /** What stands there of another kind goes only where a device can be made at all: that is how it is refused then. */
  async #makeTun(link: TunLink): Promise<KernelRefusal | undefined> {
    const { name, mac, mtuBytes, up } = link;
    const layer = mac === undefined ? 3 : 2;
    const first = makeTun(name, layer);
    const isOther = first?.errno === 'EINVAL';
    const refusal = isOther ? ((await this.#deleteLink(name)) ?? makeTun(name, layer)) : first;
    if (refusal) return refusal;
    await this.#tools.readLinks();
    const index = this.#tools.devices.indexOf(name);
    if (index === undefined) return NO_DEVICE;
    refuseAdvertisements(link);
    const change = { ...(mac !== undefined && { mac }), mtuBytes, up };
    return await this.#one((writer) => encodeLinkChange(writer, index, change, mac !== undefined));
  }

  async #deleteLink(name: string): Promise<KernelRefusal | undefined> {
    this.#tools.devices.bury(name);
    const refusal = await this.#one((writer) => encodeLinkDelete(writer, name));
    return refusal?.errno === 'ENODEV' ? undefined : refusal;
  }

  async #one(encode: (writer: MessageWriter) => void): Promise<KernelRefusal | undefined> {
    encode(this.#writer);
    const reply = await this.#tools.socket.batch(this.#writer);
    this.#begin();
    return refusalIn(reply, 0);
  }
}

/** As flannel does: whoever can send us packets must not plant addresses and routes by router advertisements. */
function refuseAdvertisements({ name }: Link): void {
  setSysctl(`net/ipv6/conf/${name}/accept_ra`, '0');
}

function noLower({ vxlan }: Link): KernelRefusal {
  return { errno: 'ENODEV', detail: `there is no interface ${vxlan?.lower}` };
}

function refusalIn(reply: BatchReply, at: number): KernelRefusal | undefined {
  const failure = reply.failures.get(at);
  if (failure !== undefined) return { errno: errnoName(failure.errno), detail: failure.detail };
  return reply.complete ? undefined : NO_ANSWER;
}

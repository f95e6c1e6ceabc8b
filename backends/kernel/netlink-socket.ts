/**
 * One netlink socket. The only importer of the netlink package, of which it uses the raw socket alone, and that to
 * receive: what the package builds on top mixes up replies and costs ten times as much, and its sending may wait
 * for the loop's next turn (README.md has the list of traps).
 *
 *   batch:  | request | request | … | request, to be acknowledged |  ->  refusals and answers, then the acknowledgement
 *   dump:   | request with NLM_F_DUMP |                              ->  parts, then NLMSG_DONE
 *   listen: join groups                                              ->  events
 *
 * One exchange at a time; the next waits for its turn.
 */
import { RawNetlinkSocket } from 'netlink/dist/raw.js';
import { TartanError, toError } from '../../config/errors.ts';
import type { Log } from '../../config/log.ts';
import { turnOfLoop } from '../../config/turn-of-loop.ts';
import {
  type Failure,
  failureIn,
  type Message,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  parseMessages,
} from './message.ts';
import { MessageWriter } from './message-writer.ts';
import { Silence } from './silence.ts';
import { netlinkDescriptor } from './socket-descriptor.ts';
import { attachFilter, sendNow, setSocketOption, socketOption } from './syscalls.ts';

const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_MEMINFO = 55;
/** Index of SK_MEMINFO_DROPS in what SO_MEMINFO gives: u32 each. */
const MEMINFO_DROPS = 8;
const SOL_NETLINK = 270;
const NETLINK_NO_ENOBUFS = 5;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

const SEND_BUFFER_BYTES = 1 << 20;
/** Nothing heard for so long: the answer was lost. The kernel answers within the send itself. */
const SILENCE_MS = 3000;
const DUMP_TRIES = 8;

interface SocketOptions {
  /** NETLINK_ROUTE where left out. */
  readonly protocol?: number;
  /** Size of the receive buffer to ask for. */
  readonly bufferBytes: number;
  /** Room for one datagram; the kernel packs dumps into as much as there is. 0: as much as each needs, asked first. */
  readonly datagramBytes: number;
  /** How long to wait for an answer; SILENCE_MS where left out. */
  readonly silenceMs?: number;
}

/** What came back for a batch, by the message's place in it. */
export interface BatchReply {
  readonly failures: ReadonlyMap<number, Failure>;
  readonly answers: ReadonlyMap<number, Message>;
  /** False: no acknowledgement came, what is not in `failures` is not known to be done. */
  readonly complete: boolean;
}

export type EncodeDump = (writer: MessageWriter, flags: number) => void;

export interface DumpOptions {
  /** Filters in the request count, where the kernel can. */
  readonly isStrict?: boolean;
  /** Which messages are kept; all where left out. */
  readonly isWanted?: (body: Buffer) => boolean;
}

/** An exchange under way. `accept` returns whether the message was the last of it. */
interface Exchange {
  readonly accept: (message: Message) => boolean;
  readonly finish: (error?: Error) => void;
  readonly silence: Silence;
}

export class NetlinkSocket {
  readonly #raw: RawNetlinkSocket;
  readonly #fd: number;
  readonly #log: Log;
  readonly #silenceMs: number;
  #seq = 1;
  #turn: Promise<unknown> = Promise.resolve();
  #exchange: Exchange | undefined;
  #listener: ((message: Message) => void) | undefined;
  #missed: (() => void) | undefined;
  #closed = false;

  constructor(log: Log, options: SocketOptions) {
    this.#log = log;
    this.#silenceMs = options.silenceMs ?? SILENCE_MS;
    this.#raw = openRaw(options);
    this.#fd = this.#descriptor(options.protocol ?? NETLINK_ROUTE);
    this.#setOptions(options.bufferBytes);
    // A throw out of these listeners would end the process inside the native code.
    this.#raw.on('message', (datagram) => this.#guard(() => this.#receive(datagram)));
    this.#raw.on('truncatedMessage', () => this.#guard(() => this.#fail('a datagram was cut short')));
    this.#raw.on('error', (error) => this.#guard(() => this.#fail(error.code, error)));
  }

  #descriptor(protocol: number): number {
    const { port } = this.#raw.address();
    const fd = netlinkDescriptor(port, protocol);
    if (fd !== undefined) return fd;
    this.#raw.close();
    throw new TartanError('KERNEL', 'netlink socket not found in /proc', { data: { port } });
  }

  /** Before any group is joined: an overflow without NETLINK_NO_ENOBUFS aborts the process inside the package. */
  #setOptions(bufferBytes: number): void {
    const refused = setSocketOption(this.#fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1);
    if (refused !== undefined) {
      this.#raw.close();
      throw new TartanError('KERNEL', `NETLINK_NO_ENOBUFS refused: ${refused}`, { data: { errno: refused } });
    }
    setSocketOption(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, bufferBytes);
    setSocketOption(this.#fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
    setSocketOption(this.#fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
  }

  /** By which the kernel knows this socket in the namespace. */
  get port(): number {
    return this.#raw.address().port;
  }

  /** `count` sequence numbers that no other message of this socket has; the first of them. */
  reserve(count: number): number {
    if (this.#seq + count > 0xffffffff) this.#seq = 1;
    const first = this.#seq;
    this.#seq += count;
    return first;
  }

  /**
   * Sends what `writer` holds, in one go. The kernel works through it within the send and goes on behind a message
   * that it refuses. Throws TartanError KERNEL where the socket fails.
   */
  batch(writer: MessageWriter): Promise<BatchReply> {
    const { count, firstSeq } = writer;
    const bytes = writer.acknowledged();
    const failures = new Map<number, Failure>();
    const answers = new Map<number, Message>();
    const accept = (message: Message): boolean => {
      const place = message.seq - firstSeq;
      if (place < 0 || place >= count) return false;
      if (message.type !== NLMSG_ERROR) {
        answers.set(place, message);
        return false;
      }
      const failure = failureIn(message);
      if (failure !== undefined) failures.set(place, failure);
      return place === count - 1;
    };
    return this.#inTurn(async () => {
      const complete = await this.#run(bytes, accept);
      return { failures, answers, complete };
    });
  }

  /** Sends what `writer` holds, and waits for nothing: the kernel has worked through it on return. */
  tell(writer: MessageWriter): void {
    const refused = this.#closed ? undefined : sendNow(this.#fd, writer.bytes());
    if (refused !== undefined) this.#log.debug('netlink messages could not be sent', { error: refused });
  }

  /**
   * The answers to a request that `encode` writes with the flags given, or why the kernel refuses it. A dump that
   * changed under the kernel's hands is asked for again. Throws TartanError KERNEL where no whole answer comes.
   */
  dump(encode: EncodeDump, options: DumpOptions = {}): Promise<Message[] | Failure> {
    return this.#inTurn(async () => {
      setSocketOption(this.#fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, options.isStrict ? 1 : 0);
      for (let attempt = 0; attempt < DUMP_TRIES; attempt++) {
        const result = await this.#dumpOnce(encode, options.isWanted ?? (() => true));
        if (result !== 'torn') return result;
        await turnOfLoop();
      }
      throw new TartanError('KERNEL', 'the kernel tables change too fast to be read');
    });
  }

  async #dumpOnce(encode: EncodeDump, isWanted: (body: Buffer) => boolean): Promise<Message[] | Failure | 'torn'> {
    const writer = new MessageWriter(256);
    writer.reset(this.reserve(1));
    encode(writer, NLM_F_REQUEST | NLM_F_DUMP);
    const messages: Message[] = [];
    let torn = false;
    let failure: Failure | undefined;
    const complete = await this.#run(writer.bytes(), (message) => {
      if (message.seq !== writer.firstSeq) return false;
      if ((message.flags & NLM_F_DUMP_INTR) !== 0) torn = true;
      if (message.type !== NLMSG_DONE && message.type !== NLMSG_ERROR) {
        if (isWanted(message.body)) messages.push(message);
        return false;
      }
      failure = failureIn(message);
      return true;
    });
    if (!complete) throw new TartanError('KERNEL', 'no answer to a netlink dump', { data: { errno: 'ETIMEDOUT' } });
    return torn ? 'torn' : (failure ?? messages);
  }

  /** Sends and listens until `accept` has had its last message: true, or until nothing comes any more: false. */
  #run(bytes: Buffer, accept: (message: Message) => boolean): Promise<boolean> {
    if (this.#closed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      const silence = new Silence(this.#silenceMs, () => settle(() => resolve(false)));
      const settle = (outcome: () => void): void => {
        silence.stop();
        this.#exchange = undefined;
        outcome();
      };
      const finish = (error?: Error): void => settle(error === undefined ? () => resolve(true) : () => reject(error));
      this.#exchange = { accept, finish, silence };
      const refused = sendNow(this.#fd, bytes);
      if (refused !== undefined) this.#fail(refused);
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    // Not the result itself: it would be held until the next.
    this.#turn = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  #receive(datagram: Buffer): void {
    this.#exchange?.silence.heard();
    for (const message of parseMessages(datagram)) {
      if (this.#exchange?.accept(message)) this.#exchange.finish();
      this.#listener?.(message);
    }
  }

  /** What was under way fails, and a listener has missed something. */
  #fail(reason: string, cause?: Error): void {
    if (this.#closed) return;
    this.#log.warn('netlink socket failed', { reason });
    this.#exchange?.finish(new TartanError('KERNEL', `the netlink socket failed: ${reason}`, { cause }));
    this.#missed?.();
  }

  #guard(action: () => void): void {
    try {
      action();
    } catch (thrown) {
      this.#log.error('netlink listener failed', { error: toError(thrown).message });
    }
  }

  /** Hears of every message from now on; `missed` is called where the socket failed to read one. */
  listen(listener: (message: Message) => void, missed: () => void): void {
    this.#listener = listener;
    this.#missed = missed;
  }

  /** Before a group is joined: what `program` drops never comes. @returns why the kernel refuses, if it does */
  filter(program: Buffer): string | undefined {
    return attachFilter(this.#fd, program);
  }

  /** Joins a multicast group; false where this kernel has none of that number. */
  join(group: number): boolean {
    try {
      this.#raw.addMembership(group);
      return true;
    } catch {
      return false;
    }
  }

  /** How many datagrams the kernel has dropped because the receive buffer was full. Counts up (and wraps). */
  drops(): number {
    if (this.#closed) return 0;
    const memory = socketOption(this.#fd, SOL_SOCKET, SO_MEMINFO, 4 * (MEMINFO_DROPS + 1));
    return memory !== undefined && memory.length >= 36 ? memory.readUInt32LE(4 * MEMINFO_DROPS) : 0;
  }

  /** An exchange under way fails. The descriptor goes a turn later: not from within the package's own callbacks. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener = undefined;
    this.#exchange?.finish(closedError());
    setImmediate(() => this.#raw.close());
  }
}

function closedError(): TartanError {
  return new TartanError('KERNEL', 'the netlink socket is closed');
}

function openRaw({ protocol = NETLINK_ROUTE, bufferBytes, datagramBytes }: SocketOptions): RawNetlinkSocket {
  const sizes = { recvBufferSize: bufferBytes, sendBufferSize: SEND_BUFFER_BYTES };
  const room = datagramBytes === 0 ? {} : { messagePeeking: false, msgBufferSize: datagramBytes };
  try {
    return new RawNetlinkSocket(protocol, { ...sizes, ...room });
  } catch (cause) {
    throw new TartanError('KERNEL', 'cannot open a netlink socket', { cause });
  }
}

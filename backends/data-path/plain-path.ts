import { createSocket, type Socket } from 'node:dgram';
import { readSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { familyOf, parseIp } from '../../config/address.ts';
import { monotonicMs } from '../../config/clock.ts';
import { errnoName } from '../kernel/errno.ts';
import { duplicate, EAGAIN, EBADFD, VIRTIO_BYTES } from '../kernel/packet-calls.ts';
import { POLLIN, PollSet } from '../kernel/poll-set.ts';
import type { Assignment } from './assignment.ts';
import { Housekeeping } from './housekeeping.ts';
import { LoopCounts } from './loop-counts.ts';
import { PLACES } from './packet-core.ts';
import { PlainExchange } from './plain-exchange.ts';
import type { WorkerInbox } from './worker-inbox.ts';

const DEVICE = 0;
const DOORBELL = 1;

/** A virtio_net_hdr and the largest packet. */
const FRAME_BYTES = 65_600;
/** Frames between two looks at what was received. */
const FRAMES_PER_TURN = 32;
/** A device that hands over nothing but errors is read no oftener: it may go on for ever. */
const REFUSED_REST_MS = 1;
/** Datagrams that may wait for the socket. */
const WAITING_MAX = 256;

/**
 * Packets one by one, by what Node itself has to read a device and to send and receive datagrams: for sandboxes that
 * refuse the calls which take many. Only to wait for the device needs a call that Node does not have.
 */
export class PlainPath {
  readonly #inbox: WorkerInbox;
  readonly #doorbell: number;
  readonly #exchange: PlainExchange;
  readonly #counts = new LoopCounts();
  readonly #housekeeping: Housekeeping;
  readonly #polled = new PollSet(2);
  readonly #frame = Buffer.alloc(FRAME_BYTES);
  readonly #bell = Buffer.alloc(8);
  #socket: Socket | undefined;
  #socketFd: number | undefined;
  #hasWorked = false;
  #wasRefused = false;

  /** @param inbox told that the core's memory is at 0 */
  constructor(inbox: WorkerInbox, doorbell: number) {
    this.#inbox = inbox;
    this.#doorbell = doorbell;
    this.#exchange = new PlainExchange(inbox.core, 0n);
    this.#housekeeping = new Housekeeping(inbox, this.#counts);
  }

  /** Until it is told to stop. */
  async run(): Promise<void> {
    while (this.#inbox.readMail()) {
      this.#inbox.page.beat();
      const { assignment } = this.#inbox;
      this.#adopt(assignment?.socket?.fd);
      if (assignment) this.#readDevice(assignment);
      const now = monotonicMs();
      this.#housekeeping.keep(now, this.#hasWorked);
      this.#hasWorked = false;
      await this.#wait(assignment?.tun?.fd, this.#housekeeping.restMs(now));
    }
    this.#socket?.close();
  }

  /** Node closes what it is given, so it gets a descriptor of its own. */
  #adopt(fd: number | undefined): void {
    if (fd === this.#socketFd) return;
    this.#socket?.close();
    this.#socketFd = fd;
    this.#socket = undefined;
    const { assignment } = this.#inbox;
    if (fd === undefined || assignment === undefined) return;
    const socket = createSocket(familyOf(assignment.settings.local) === 4 ? 'udp4' : 'udp6');
    socket.on('message', (data, { address }) => this.#receive(data, address));
    socket.on('error', (error) => this.#failed('receive', error));
    socket.bind({ fd: duplicate(fd) });
    this.#socket = socket;
  }

  #readDevice({ tun, settings }: Assignment): void {
    this.#wasRefused = false;
    if (tun === undefined || this.#socket === undefined) return;
    for (let i = 0; i < FRAMES_PER_TURN; i++) {
      const bytes = this.#readFrame(tun.fd);
      if (bytes === 0) return;
      if (bytes === undefined) continue;
      this.#hasWorked = true;
      this.#send(this.#frame.subarray(0, bytes), tun.fd, settings.port);
    }
  }

  /** 0: nothing is there; undefined: an odd packet was dropped. */
  #readFrame(fd: number): number | undefined {
    try {
      return readSync(fd, this.#frame);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === EBADFD) this.#inbox.lose(fd, errnoName(errno));
      if (errno === EBADFD || errno === EAGAIN) return 0;
      this.#failed('read', error);
      this.#wasRefused = true;
      return undefined;
    }
  }

  #send(read: Buffer, tun: number, port: number): void {
    const { core } = this.#inbox;
    core.txReset();
    this.#exchange.putFrame(read.subarray(VIRTIO_BYTES), read.subarray(0, VIRTIO_BYTES));
    const messages = core.txDone();
    for (const { data, address } of this.#exchange.sent(messages)) this.#sendDatagram(data, address, port);
    for (const reply of this.#exchange.written(core.txReplies(), PLACES.replyWrites)) this.#write(tun, reply);
  }

  #sendDatagram(data: Uint8Array, address: string, port: number): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    if (socket.getSendQueueCount() >= WAITING_MAX) {
      this.#counts.waited('send');
      this.#counts.refusal('send', EAGAIN);
      return;
    }
    socket.send(data, port, address, (error) => {
      if (error) this.#failed('send', error);
    });
  }

  #receive(data: Buffer, address: string): void {
    const { tun } = this.#inbox.assignment ?? {};
    const sender = parseIp(address.replace(/%.*$/, ''));
    if (tun === undefined || sender === undefined) return;
    this.#hasWorked = true;
    const { core } = this.#inbox;
    core.rxPrepare(1);
    this.#exchange.putDatagram(0, { data, address: sender });
    for (let writes = core.rx(1); writes > 0; writes = core.rxMore()) {
      for (const frame of this.#exchange.written(writes)) this.#write(tun.fd, frame);
    }
  }

  #write(tun: number, frame: Buffer): void {
    try {
      writeSync(tun, frame);
    } catch (error) {
      if (errnoOf(error) === EBADFD) this.#inbox.lose(tun, errnoName(EBADFD));
      else this.#failed('write', error);
    }
  }

  #failed(what: 'read' | 'send' | 'write' | 'receive', error: unknown): void {
    this.#counts.refusal(what, errnoOf(error));
  }

  /** In Node's thread pool: what is received is taken meanwhile. */
  async #wait(tun: number | undefined, timeoutMs: number): Promise<void> {
    const isRead = this.#socket !== undefined && !this.#wasRefused;
    this.#polled.watch(DEVICE, isRead ? tun : undefined, POLLIN);
    this.#polled.watch(DOORBELL, this.#doorbell, POLLIN);
    await this.#polled.waitInPool(this.#wasRefused ? REFUSED_REST_MS : timeoutMs);
    if (this.#polled.cameOf(DOORBELL) !== 0) readSync(this.#doorbell, this.#bell);
    if (tun !== undefined && this.#polled.isGone(DEVICE)) this.#inbox.lose(tun, errnoName(EBADFD));
  }
}

/** Node's errors bear it as a negative number, libuv's own as a large one. */
function errnoOf(error: unknown): number {
  return error instanceof Error && 'errno' in error ? Math.abs(Number(error.errno)) : constants.errno.EIO;
}

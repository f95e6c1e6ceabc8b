import { monotonicMs } from '../../config/clock.ts';
import { errnoName } from '../kernel/errno.ts';
import { addressOf, lastErrno } from '../kernel/libc.ts';
import {
  EBADFD,
  type PacketCalls,
  POLLERR,
  POLLFD_BYTES,
  POLLHUP,
  POLLIN,
  POLLNVAL,
  POLLOUT,
  packetCalls,
} from '../kernel/packet-calls.ts';
import type { Assignment } from './assignment.ts';
import { Bookkeeper } from './bookkeeper.ts';
import type { Desk } from './desk.ts';
import { Incoming } from './incoming.ts';
import { LoopCounts } from './loop-counts.ts';
import { Outgoing } from './outgoing.ts';
import { SCRATCH } from './packet-core.ts';
import type { Turn } from './turn.ts';

/** Places of the descriptors that are waited for. */
const DEVICE = 0;
const SOCKET = 1;
const DOORBELL = 2;

const GONE = POLLERR | POLLHUP | POLLNVAL;

/**
 * The loop: a batch out, a batch in, and so on by turns while there is anything to do; else it waits in poll(2). The
 * thread does nothing beside this.
 */
export class BatchedPath {
  readonly #calls: PacketCalls = packetCalls();
  readonly #desk: Desk;
  readonly #doorbell: number;
  readonly #pollAt: number;
  readonly #polled: DataView;
  readonly #bell = new Uint8Array(8);
  readonly #bellAt = Number(addressOf(this.#bell));
  readonly #books: Bookkeeper;
  readonly #outgoing: Outgoing;
  readonly #incoming: Incoming;
  #out: Turn = 'idle';
  #in: Turn = 'idle';

  /** @param base where the core's memory is */
  constructor(desk: Desk, doorbell: number, base: number) {
    const counts = new LoopCounts();
    this.#desk = desk;
    this.#doorbell = doorbell;
    this.#pollAt = base + SCRATCH;
    this.#polled = new DataView(desk.core.memory, SCRATCH, 3 * POLLFD_BYTES);
    this.#books = new Bookkeeper(desk, counts);
    this.#outgoing = new Outgoing(desk.core, base, counts);
    this.#incoming = new Incoming(desk.core, base, counts);
    this.#outgoing.onGroupingRefused = (errno) => this.#giveUpGrouping(errno);
  }

  /** Until it is told to stop. */
  run(): void {
    while (this.#desk.readMail()) {
      this.#desk.page.beat();
      const { assignment } = this.#desk;
      if (assignment) this.#turn(assignment);
      const isIdle = this.#out !== 'worked' && this.#in !== 'worked';
      const now = monotonicMs();
      this.#books.keep(now, isIdle);
      if (isIdle) this.#wait(assignment, this.#books.restMs(now));
    }
  }

  #turn({ tun, socket }: Assignment): void {
    if (tun === undefined || socket === undefined) {
      this.#out = 'idle';
      this.#in = 'idle';
      return;
    }
    this.#out = this.#outgoing.turn(tun.fd, socket.fd);
    this.#in = this.#incoming.turn(tun.fd, socket.fd);
    if (this.#out === 'lost' || this.#in === 'lost') this.#lose(tun.fd, EBADFD);
  }

  /** What is under way is nobody's any more: what is opened next is another device. */
  #lose(fd: number, errno: number): void {
    this.#outgoing.forget();
    this.#incoming.forget();
    this.#desk.lose(fd, errnoName(errno));
    this.#out = 'idle';
    this.#in = 'idle';
  }

  #giveUpGrouping(errno: number): void {
    this.#desk.giveUp('udp-gso', errnoName(errno));
  }

  /** For what each direction lacks. A descriptor that none waits for is left out: its errors would end every wait. */
  #wait(assignment: Assignment | undefined, timeoutMs: number): void {
    const { tun, socket } = assignment ?? {};
    const isWhole = tun !== undefined && socket !== undefined;
    const device = (this.#out === 'full' ? 0 : POLLIN) | (this.#in === 'full' ? POLLOUT : 0);
    const outer = (this.#in === 'full' ? 0 : POLLIN) | (this.#out === 'full' ? POLLOUT : 0);
    this.#watch(DEVICE, isWhole && device !== 0 ? tun.fd : -1, device);
    this.#watch(SOCKET, isWhole && outer !== 0 ? socket.fd : -1, outer);
    this.#watch(DOORBELL, this.#doorbell, POLLIN);
    if (this.#calls.poll(this.#pollAt, 3, timeoutMs) <= 0) return;
    if (this.#cameOf(DOORBELL) !== 0) this.#calls.read(this.#doorbell, this.#bellAt, this.#bell.length);
    if (tun && (this.#cameOf(DEVICE) & GONE) !== 0) this.#lose(tun.fd, EBADFD);
  }

  #watch(place: number, fd: number, events: number): void {
    const at = place * POLLFD_BYTES;
    this.#polled.setInt32(at, fd, true);
    this.#polled.setInt16(at + 4, events, true);
    this.#polled.setInt16(at + 6, 0, true);
  }

  #cameOf(place: number): number {
    return this.#polled.getInt16(place * POLLFD_BYTES + 6, true);
  }
}

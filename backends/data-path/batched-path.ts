import { monotonicMs } from '../../config/clock.ts';
import { errnoName } from '../kernel/errno.ts';
import { addressOf } from '../kernel/libc.ts';
import { EBADFD, packetCalls } from '../kernel/packet-calls.ts';
import { POLLIN, POLLOUT, PollSet } from '../kernel/poll-set.ts';
import type { Assignment } from './assignment.ts';
import { Bookkeeper } from './bookkeeper.ts';
import type { Desk } from './desk.ts';
import { Incoming } from './incoming.ts';
import { LoopCounts } from './loop-counts.ts';
import { Outgoing } from './outgoing.ts';
import type { Turn } from './turn.ts';

/** Places of the descriptors that are waited for. */
const DEVICE = 0;
const SOCKET = 1;
const DOORBELL = 2;

/** A device that hands over nothing but errors is read no oftener: it may go on for ever. */
const REFUSED_REST_MS = 1;

/**
 * The loop: a batch out, a batch in, and so on by turns while there is anything to do; else it waits in poll(2). The
 * thread does nothing beside this.
 */
export class BatchedPath {
  readonly #desk: Desk;
  readonly #doorbell: number;
  readonly #polled = new PollSet(3);
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
    this.#books = new Bookkeeper(desk, counts);
    this.#outgoing = new Outgoing(desk.core, base, counts);
    this.#incoming = new Incoming(desk.core, base, counts);
    this.#outgoing.onGroupingRefused = (errno) => this.#desk.giveUpGrouping(errnoName(errno));
  }

  /** Until it is told to stop. */
  run(): void {
    while (this.#desk.readMail()) {
      this.#desk.page.beat();
      const { assignment } = this.#desk;
      if (assignment) this.#turn(assignment);
      const hasWorked = this.#out === 'worked' || this.#in === 'worked';
      const now = monotonicMs();
      this.#books.keep(now, hasWorked);
      if (!hasWorked) this.#wait(this.#desk.assignment, this.#books.restMs(now));
    }
  }

  #turn({ tun, socket }: Assignment): void {
    this.#out = 'idle';
    this.#in = 'idle';
    if (tun === undefined || socket === undefined) return;
    this.#out = this.#outgoing.turn(tun.fd, socket.fd);
    this.#in = this.#incoming.turn(tun.fd, socket.fd);
    if (this.#out === 'lost' || this.#in === 'lost') this.#lose(tun.fd);
  }

  /** What is under way is nobody's any more: what is opened next is another device. */
  #lose(fd: number): void {
    this.#outgoing.forget();
    this.#incoming.forget();
    this.#desk.lose(fd, errnoName(EBADFD));
    this.#out = 'idle';
    this.#in = 'idle';
  }

  /** For what each direction lacks. */
  #wait(assignment: Assignment | undefined, timeoutMs: number): void {
    const { tun, socket } = assignment ?? {};
    const isWhole = tun !== undefined && socket !== undefined;
    const wasRefused = this.#out === 'refused';
    const device = (this.#out === 'full' || wasRefused ? 0 : POLLIN) | (this.#in === 'full' ? POLLOUT : 0);
    const outer = (this.#in === 'full' ? 0 : POLLIN) | (this.#out === 'full' ? POLLOUT : 0);
    this.#polled.watch(DEVICE, isWhole ? tun.fd : undefined, device);
    this.#polled.watch(SOCKET, isWhole ? socket.fd : undefined, outer);
    this.#polled.watch(DOORBELL, this.#doorbell, POLLIN);
    this.#polled.wait(wasRefused ? REFUSED_REST_MS : timeoutMs);
    if (this.#polled.cameOf(DOORBELL) !== 0) packetCalls().read(this.#doorbell, this.#bellAt, this.#bell.length);
    if (tun && this.#polled.isGone(DEVICE)) this.#lose(tun.fd);
  }
}

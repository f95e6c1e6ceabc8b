import { monotonicMs } from '../../config/clock.ts';
import { errnoName } from '../kernel/errno.ts';
import { addressOf } from '../kernel/libc.ts';
import { EBADFD, packetCalls } from '../kernel/packet-calls.ts';
import { POLLIN, POLLOUT, PollSet } from '../kernel/poll-set.ts';
import type { Assignment } from './assignment.ts';
import { Housekeeping } from './housekeeping.ts';
import { Incoming } from './incoming.ts';
import { LoopCounts } from './loop-counts.ts';
import { Outgoing } from './outgoing.ts';
import type { Turn } from './turn.ts';
import type { WorkerInbox } from './worker-inbox.ts';

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
  readonly #inbox: WorkerInbox;
  readonly #doorbell: number;
  readonly #polled = new PollSet(3);
  readonly #bell = new Uint8Array(8);
  readonly #bellAt = Number(addressOf(this.#bell));
  readonly #housekeeping: Housekeeping;
  readonly #outgoing: Outgoing;
  readonly #incoming: Incoming;
  #out: Turn = 'idle';
  #in: Turn = 'idle';

  /** @param base where the core's memory is */
  constructor(inbox: WorkerInbox, doorbell: number, base: number) {
    const counts = new LoopCounts();
    this.#inbox = inbox;
    this.#doorbell = doorbell;
    this.#housekeeping = new Housekeeping(inbox, counts);
    this.#outgoing = new Outgoing(inbox.core, base, counts);
    this.#incoming = new Incoming(inbox.core, base, counts);
    this.#outgoing.onGroupingRefused = (errno) => this.#inbox.giveUpGrouping(errnoName(errno));
  }

  /** Until it is told to stop. */
  run(): void {
    while (this.#inbox.readMail()) {
      this.#inbox.page.beat();
      const { assignment } = this.#inbox;
      if (assignment) this.#turn(assignment);
      const hasWorked = this.#out === 'worked' || this.#in === 'worked';
      const now = monotonicMs();
      this.#housekeeping.keep(now, hasWorked);
      if (!hasWorked) this.#wait(this.#inbox.assignment, this.#housekeeping.restMs(now));
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
    this.#inbox.lose(fd, errnoName(EBADFD));
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

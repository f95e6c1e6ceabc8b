import type { Clock } from '../config/clock.ts';
import type { Log } from '../config/log.ts';
import { Wakeup } from '../config/wakeup.ts';
import type { PeerChange } from '../leases/directory.ts';

/** Peers named one by one; of more, the count. */
const LOGGED_PEERS = 20;
/** Peers come in flocks, and the kernel first: a line of the log takes longer than a route. */
const GATHER_MS = 100;

/** Says which peers came, changed and left, of what comes together only how many. */
export class PeerLog {
  readonly #log: Log;
  readonly #doorbell = new Wakeup();
  #changes: PeerChange[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  add(changes: readonly PeerChange[]): void {
    for (const change of changes) this.#changes.push(change);
    this.#doorbell.ring();
  }

  /** Until the signal is aborted; nothing that was added before goes unsaid. */
  async run(clock: Clock, signal: AbortSignal): Promise<never> {
    try {
      for (;;) {
        await this.#doorbell.wait(Number.POSITIVE_INFINITY, clock, signal);
        await clock.sleep(GATHER_MS, signal);
        this.#say();
      }
    } finally {
      this.#say();
    }
  }

  #say(): void {
    const changes = this.#changes;
    this.#changes = [];
    if (changes.length <= LOGGED_PEERS) for (const change of changes) this.#sayOne(change);
    else this.#log.info('peers changed', { appeared: changes.filter(({ after }) => after).length, of: changes.length });
  }

  #sayOne({ before, after }: PeerChange): void {
    const lease = after ?? before;
    if (!lease) return;
    const what = after ? (before ? 'a peer changed' : 'a peer appeared') : 'a peer left';
    const { subnet, publicIp, owner } = lease;
    this.#log.info(what, { subnet, publicIp, ...(owner && { name: owner.name }) });
  }
}

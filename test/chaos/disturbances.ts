/**
 * Which packets may be lost. Exactly these: packets between A and B that were sent while A or B was disturbed.
 *
 *  - A fault of a host's kernel, cable or addresses, or its going down in order, disturbs that host; from the fault until
 *    its agent, asked a moment after the fault was over, has said twice that it is in step.
 *  - A change of A's lease in etcd (gone, there again, another one) disturbs A and each other host B as a pair, until
 *    B's agent, asked a moment later, is connected, in step, and has as A's subnet what etcd has.
 *
 * An agent that is killed, frozen or restarted disturbs nobody. Nor does an etcd that is killed, frozen or compacted, nor
 * bad keys and hostile leases. A lease that runs out meanwhile is a change of a lease.
 */

/** What an agent says of itself. */
export interface Said {
  /** Wall clock, ms. */
  readonly askedAt: number;
  readonly answeredAt: number;
  readonly isReady: boolean;
  readonly isInStep: boolean;
  readonly isConnected: boolean;
  /** Peers' subnets by public IP. */
  readonly peers: ReadonlyMap<string, string>;
}

export interface Disturbance {
  readonly why: string;
  /** One: that host, whoever the other is. Two: that pair only. */
  readonly hosts: readonly string[];
  /** Whose agent ends it by what it says. */
  readonly judge: string;
  /** Of a change of a lease: whose, so that the judge's peers can be looked at. */
  readonly lessee: string | undefined;
  readonly from: number;
  /** When the fault itself was over; undefined: it lasts. */
  over: number | undefined;
  /** Whether all was well when the judge answered last: once may have been before it woke up. */
  wasWell: boolean;
  /** When the judge had said twice in a row that all is well. */
  until: number | undefined;
  /** How long after the end of the fault the judge is asked at the earliest, ms. */
  readonly settleMs: number;
}

/** A host and the lease that etcd has for it now. */
export interface Lessee {
  readonly name: string;
  readonly ip: string;
  readonly subnet: string | undefined;
}

/** Clocks agree (it is one machine), but the run notes a fault or hears of a change a little later than it is there. */
const BEFORE_MS = 2_000;
const SETTLE_MS = 1_000;

export interface Begin {
  readonly why: string;
  readonly hosts: readonly string[];
  readonly judge: string;
  readonly lessee?: string;
  readonly at: number;
  readonly settleMs?: number;
  /** Absent: it is over when it begins. */
  readonly lasts?: boolean;
}

export class Disturbances {
  readonly #all: Disturbance[] = [];

  begin({ why, hosts, judge, lessee, at, settleMs = SETTLE_MS, lasts = false }: Begin): Disturbance {
    const over = lasts ? undefined : at;
    const disturbance = { why, hosts, judge, lessee, from: at, over, wasWell: false, until: undefined, settleMs };
    this.#all.push(disturbance);
    return disturbance;
  }

  /** Not yet at an end. */
  get open(): readonly Disturbance[] {
    return this.#all.filter(({ until }) => until === undefined);
  }

  /**
   * The agent of `judge` has answered.
   */
  heard(judge: string, said: Said, leased: (host: string) => Lessee): void {
    for (const one of this.open) {
      if (one.judge !== judge || one.over === undefined || said.askedAt < one.over + one.settleMs) continue;
      const isWell = this.#isWell(one, said, leased);
      if (isWell && one.wasWell) one.until = said.answeredAt;
      one.wasWell = isWell;
    }
  }

  #isWell({ judge, lessee }: Disturbance, said: Said, leased: (host: string) => Lessee): boolean {
    if (!said.isReady || !said.isInStep) return false;
    return lessee === undefined || this.#knows(judge, said, leased(lessee));
  }

  /** A host without a lease has no network: that lasts until it has one, and the judge knows it. */
  #knows(judge: string, said: Said, { name, ip, subnet }: Lessee): boolean {
    if (!said.isConnected || subnet === undefined) return false;
    return name === judge || said.peers.get(ip) === subnet;
  }

  /** Why a packet of that time may be lost; undefined: it may not. */
  excuse(from: string, to: string, at: number): string | undefined {
    const found = this.#all.find(
      (one) =>
        one.hosts.every((host) => host === from || host === to) &&
        at >= one.from - BEFORE_MS &&
        at <= (one.until ?? Number.POSITIVE_INFINITY),
    );
    return found?.why;
  }

  /** Forgets what ended before `at`: no packet of that time will still be reported. */
  forget(at: number): void {
    const kept = this.#all.filter(({ until }) => until === undefined || until >= at);
    this.#all.splice(0, this.#all.length, ...kept);
  }
}

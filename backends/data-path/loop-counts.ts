import { errnoName } from '../kernel/errno.ts';
import { COUNTERS, type Counter } from './counters.ts';

/** What the kernel did with what it was given, which the core does not see. */
const LOOP_COUNTERS = [
  {
    name: 'tx-refused',
    kind: 'drop',
    help: 'Messages for peers that the kernel would not send, and packets that the device would not hand over.',
  },
  { name: 'tx-split', kind: 'traffic', help: 'Packets sent one by one, as the kernel refused them together.' },
  { name: 'tx-waits', kind: 'traffic', help: 'How often the socket was full, and the device had to wait.' },
  { name: 'rx-refused', kind: 'drop', help: 'Frames that the device would not take.' },
  { name: 'rx-waits', kind: 'traffic', help: 'How often the device was full, and the socket had to wait.' },
] as const satisfies readonly Counter[];

/** All that is counted, in the order in which the worker tells it. */
export const PATH_COUNTERS = [...COUNTERS, ...LOOP_COUNTERS] as const;

type Name = (typeof LOOP_COUNTERS)[number]['name'];
type What = 'read' | 'send' | 'write' | 'receive';

/** How often the kernel refused which call with which error: `send ENETUNREACH`. */
export type Refusals = Readonly<Record<string, number>>;

export class LoopCounts {
  readonly values = new Float64Array(LOOP_COUNTERS.length);
  /** By the call, and errno: of both there are few. */
  readonly #refusals = new Map<What, Map<number, number>>();
  refused = 0;

  waited(what: 'send' | 'write'): void {
    this.#add(what === 'send' ? 'tx-waits' : 'rx-waits', 1);
  }

  splitUp(datagrams: number): void {
    this.#add('tx-split', datagrams);
  }

  refusal(what: What, errno: number): void {
    this.refused += 1;
    this.#add(what === 'send' || what === 'read' ? 'tx-refused' : 'rx-refused', 1);
    const ofCall = this.#refusals.get(what) ?? new Map<number, number>();
    this.#refusals.set(what, ofCall.set(errno, (ofCall.get(errno) ?? 0) + 1));
  }

  refusals(): Refusals {
    const all = [...this.#refusals].flatMap(([what, ofCall]) =>
      [...ofCall].map(([errno, count]) => [`${what} ${errnoName(errno)}`, count] as const),
    );
    return Object.fromEntries(all);
  }

  #add(name: Name, by: number): void {
    const at = LOOP_COUNTERS.findIndex((one) => one.name === name);
    this.values[at] = (this.values[at] ?? 0) + by;
  }
}

/** The peer filter's table as the kernel has it, as last read or written, and the script that makes it right. */
import type { Listing } from './peer-filter-listing.ts';
import {
  chainLines,
  changeElements,
  flushStrangers,
  makeTable,
  type PeerFilterShape,
  renewGuard,
  rewriteChains,
} from './peer-filter-script.ts';

const ELEMENTS_A_LINE = 500;

/** Packets by what became of them. */
type Counted = 'dropped' | 'reported' | 'passed';
export const COUNTED: readonly Counted[] = ['dropped', 'reported', 'passed'];

export interface PeerFilterWanted {
  readonly drops: boolean;
  readonly addresses: ReadonlyMap<string, unknown>;
  /** Addresses that were named, or no longer are, since the last plan. */
  readonly changed: Iterable<string>;
  /** Elements as nft prints them. */
  readonly tolerated: ReadonlySet<string>;
  readonly renewsGuard: boolean;
  readonly forgetsStrangers: boolean;
}

export interface PeerFilterPlan {
  /** For one `nft -f -`. */
  readonly lines: readonly string[];
  /** What others made of our table, which the lines put right. */
  readonly amiss: string | undefined;
}

interface Difference {
  readonly set: 'peers' | 'tolerated';
  readonly verb: 'add' | 'delete';
  readonly element: string;
}

export class PeerFilterTable {
  readonly #device: Omit<PeerFilterShape, 'drops'>;
  #elements: { readonly peers: Set<string>; readonly tolerated: Set<string> } | undefined;
  /** Whether we made or found the table right: what differs from now on, others did. */
  #isSettled = false;
  #isDistrusted = false;
  #drops: boolean | undefined;
  #plannedDrops: boolean | undefined;
  #hasWrittenRules = false;
  /** How this nft prints our rules, where it is not as expected. */
  #printed: string | undefined;

  constructor(device: Omit<PeerFilterShape, 'drops'>) {
    this.#device = device;
  }

  /** Whether differences can be told without reading. */
  get isKnown(): boolean {
    return this.#elements !== undefined;
  }

  /** Whether it drops, as last written or found. */
  get drops(): boolean | undefined {
    return this.#drops;
  }

  /** The last plan was carried out. */
  settle(): void {
    this.#drops = this.#plannedDrops;
    this.#isSettled = true;
    this.#isDistrusted = false;
  }

  /** It is to be read before the next plan. */
  forget(): void {
    this.#elements = undefined;
  }

  /** The last plan was refused: the next makes the table anew. What can't be changed can be replaced. */
  distrust(): void {
    this.forget();
    this.#isDistrusted = true;
  }

  /** We take it away. */
  gone(): void {
    this.forget();
    this.#isSettled = false;
  }

  /** @param listing undefined: what was read or written last still holds. */
  plan(listing: Listing | 'absent' | undefined, wanted: PeerFilterWanted): PeerFilterPlan {
    const shape = { ...this.#device, drops: wanted.drops };
    this.#plannedDrops = wanted.drops;
    if (listing === 'absent' || (listing !== undefined && !isComplete(listing))) {
      return { lines: this.#makeAll(shape, wanted), amiss: this.#isSettled ? 'it was deleted' : undefined };
    }
    if (this.#isDistrusted) return { lines: this.#makeAll(shape, wanted), amiss: undefined };
    if (listing) this.#elements = elementsOf(listing);
    const differences = [...this.#differences(wanted, listing ? undefined : wanted.changed)];
    const amiss = listing && this.#isSettled ? this.#amiss(listing, shape, differences, wanted) : undefined;
    const lines = [
      ...this.#rules(listing, shape),
      ...this.#carryOut(differences),
      ...guard(listing, shape, wanted.renewsGuard),
      ...(listing && wanted.forgetsStrangers ? flushStrangers(shape.device) : []),
    ];
    return { lines, amiss };
  }

  #makeAll(shape: PeerFilterShape, wanted: PeerFilterWanted): string[] {
    this.#elements = { peers: new Set(), tolerated: new Set() };
    this.#hasWrittenRules = true;
    const differences = [...this.#differences(wanted, undefined)];
    return [...makeTable(shape), ...this.#carryOut(differences), ...renewGuard(shape)];
  }

  #amiss(
    listing: Listing,
    shape: PeerFilterShape,
    differences: readonly Difference[],
    { changed }: PeerFilterWanted,
  ): string | undefined {
    const ours = new Set(changed);
    const others = differences.find(({ set, element }) => set === 'peers' && !ours.has(element));
    if (others) return others.verb === 'add' ? `it lacked ${others.element}` : `it had ${others.element}`;
    const isAsBefore = this.#drops === shape.drops && !this.#hasWrittenRules;
    return isAsBefore && !this.#areRulesRight(listing, shape) ? 'its rules were changed' : undefined;
  }

  #rules(listing: Listing | undefined, shape: PeerFilterShape): string[] {
    const isAsBefore = this.#drops === shape.drops;
    if (listing && this.#hasWrittenRules && isAsBefore) {
      this.#printed = textOf(listing.chains);
      this.#hasWrittenRules = false;
    }
    if (listing ? this.#areRulesRight(listing, shape) : isAsBefore) return [];
    this.#hasWrittenRules = true;
    return rewriteChains(shape);
  }

  #areRulesRight({ chains }: Listing, shape: PeerFilterShape): boolean {
    const found = textOf(chains);
    return found === textOf(chainLines(shape)) || (this.#drops === shape.drops && found === this.#printed);
  }

  *#differences(wanted: PeerFilterWanted, changed: Iterable<string> | undefined): Generator<Difference> {
    const { peers, tolerated } = this.#elements ?? { peers: new Set<string>(), tolerated: new Set<string>() };
    for (const element of changed ?? peers) {
      if (peers.has(element) && !wanted.addresses.has(element)) yield { set: 'peers', verb: 'delete', element };
    }
    for (const element of changed ?? wanted.addresses.keys()) {
      if (wanted.addresses.has(element) && !peers.has(element)) yield { set: 'peers', verb: 'add', element };
    }
    for (const element of tolerated) {
      if (!wanted.tolerated.has(element)) yield { set: 'tolerated', verb: 'delete', element };
    }
    for (const element of wanted.tolerated) {
      if (!tolerated.has(element)) yield { set: 'tolerated', verb: 'add', element };
    }
  }

  #carryOut(differences: readonly Difference[]): string[] {
    const lines: string[] = [];
    for (const set of ['tolerated', 'peers'] as const) {
      for (const verb of ['delete', 'add'] as const) {
        const elements = differences
          .filter((one) => one.set === set && one.verb === verb)
          .map(({ element }) => element);
        for (const element of elements) this.#elements?.[set][verb](element);
        for (let at = 0; at < elements.length; at += ELEMENTS_A_LINE) {
          lines.push(...changeElements(verb, this.#device.device, set, elements.slice(at, at + ELEMENTS_A_LINE)));
        }
      }
    }
    return lines;
  }
}

function guard(listing: Listing | undefined, shape: PeerFilterShape, isDue: boolean): string[] {
  const port = String(shape.udpPort);
  const guarded = listing?.sets.get('guarded');
  const others = [...(guarded?.keys() ?? [])].filter((other) => other !== port);
  const isGone = guarded !== undefined && !guarded.has(port);
  return [...changeElements('delete', shape.device, 'guarded', others), ...(isDue || isGone ? renewGuard(shape) : [])];
}

function elementsOf({ sets }: Listing): { peers: Set<string>; tolerated: Set<string> } {
  return { peers: new Set(sets.get('peers')?.keys()), tolerated: new Set(sets.get('tolerated')?.keys()) };
}

function isComplete({ sets, counters, chains }: Listing): boolean {
  return (
    ['guarded', 'peers', 'tolerated', 'strangers'].every((name) => sets.has(name)) &&
    COUNTED.every((name) => counters.has(name)) &&
    ['input', 'datagrams'].every((name) => chains.has(name))
  );
}

/** Of our chains alone. */
function textOf(chains: ReadonlyMap<string, readonly string[]>): string {
  return ['input', 'datagrams'].map((name) => chains.get(name)?.join('\n') ?? '').join('\n\n');
}

/** Which packet filters this host has, and which of two kinds of iptables is in use. */
import type { Family } from '../../config/address.ts';
import type { NftablesAbilities } from './nftables-rules.ts';
import type { Programs } from './programs.ts';

export interface Iptables {
  readonly family: Family;
  /** `iptables`, `ip6tables-legacy`; its companions are `…-save` and `…-restore`. */
  readonly program: string;
  /** What the kernel keeps its rules in: the two know nothing of each other's. */
  readonly kind: 'nft' | 'legacy';
  readonly version: string;
  /** From 1.6.2 on: `--random-fully`, and waiting for the lock in iptables-restore. */
  readonly isRecent: boolean;
}

export interface Nftables {
  readonly version: string;
  readonly abilities: NftablesAbilities;
  /** Tables that are there: `inet tartan-docker-flannel.1`. */
  readonly tables: readonly string[];
}

export interface Survey {
  /** Every kind of iptables there is, the one to use first. */
  readonly iptables: Readonly<Record<Family, readonly Iptables[]>>;
  readonly nftables: Nftables | undefined;
}

/** Docker and Kubernetes make chains where the host's iptables is; DOCKER-USER may be our own. */
const IN_USE = /^:(?:DOCKER|KUBE-\S+) /m;

/** Whether rules stand where the kernel does not tell of changes. */
export function usesLegacy({ iptables }: Survey): boolean {
  return [iptables[4][0], iptables[6][0]].some((used) => used?.kind === 'legacy');
}

/** What stays the same is asked once for each version of nft: a trial changes nothing, but takes the kernel's time. */
export class Surveyor {
  readonly #programs: Programs;
  readonly #abilities = new Map<string, NftablesAbilities>();

  constructor(programs: Programs) {
    this.#programs = programs;
  }

  async survey(): Promise<Survey> {
    const [four, six, nftables] = await Promise.all([
      findIptables(this.#programs, 4),
      findIptables(this.#programs, 6),
      this.#nftables(),
    ]);
    return { iptables: { 4: four, 6: six }, nftables };
  }

  async #nftables(): Promise<Nftables | undefined> {
    const answer = await this.#programs.run('nft', ['--version']);
    const version = /v(\d+(?:\.\d+)+)/.exec(answer?.stdout ?? '')?.[1];
    if (version === undefined) return undefined;
    const known = this.#abilities.get(version);
    const abilities = known ?? { comments: await this.#takes(COMMENTS), randomFully: await this.#takes(RANDOM_FULLY) };
    // One that the kernel was too busy for is tried again.
    if (abilities.comments && abilities.randomFully) this.#abilities.set(version, abilities);
    const listing = await this.#programs.run('nft', ['list', 'tables']);
    return { version, abilities, tables: tablesIn(listing?.stdout) };
  }

  async #takes(script: string): Promise<boolean> {
    const trial = await this.#programs.run('nft', ['--check', '-f', '-'], { input: script });
    return trial?.ok === true;
  }
}

/** Every kind of iptables there is, the one to use first. */
export async function findIptables(programs: Programs, family: Family): Promise<readonly Iptables[]> {
  const name = family === 4 ? 'iptables' : 'ip6tables';
  const candidates = [name, `${name}-nft`, `${name}-legacy`];
  const answers = await Promise.all(candidates.map((program) => programs.run(program, ['--version'])));
  const found = candidates.flatMap((program, at) => iptablesOf(family, program, answers[at]?.stdout) ?? []);
  const kinds = found.filter(({ kind }, at) => found.findIndex((other) => other.kind === kind) === at);
  if (kinds.length < 2) return kinds;
  const listings = await Promise.all(kinds.map(({ program }) => programs.run(`${program}-save`, [])));
  return inOrder(
    kinds,
    listings.map((listing) => listing?.stdout ?? ''),
  );
}

const COMMENTS = `add table ip tartan-trial { comment "trial"; }
add chain ip tartan-trial trial { type nat hook postrouting priority 100; policy accept; comment "trial"; }
`;
const RANDOM_FULLY = `add table ip tartan-trial
add chain ip tartan-trial trial { type nat hook postrouting priority 100; policy accept; }
add rule ip tartan-trial trial ip saddr != 127.0.0.1 masquerade fully-random
`;

/** `table inet filter`, one a line. */
export function tablesIn(listing = ''): string[] {
  return Array.from(listing.matchAll(/^table (\S+ \S+)$/gm), ([, table = '']) => table);
}

/** Names of the tables, of family inet, that some agent of ours made. */
export function ownTables({ nftables }: Survey): string[] {
  return (nftables?.tables ?? []).flatMap((table) => /^inet (tartan-\S+)$/.exec(table)?.[1] ?? []);
}

/** `iptables v1.8.9 (nf_tables)`; without a word in brackets it is an old one, and legacy. */
export function iptablesOf(family: Family, program: string, answer = ''): Iptables | undefined {
  const [, version] = /v(\d+(?:\.\d+)+)/.exec(answer) ?? [];
  if (version === undefined) return undefined;
  const kind = answer.includes('nf_tables') ? 'nft' : 'legacy';
  return { family, program, kind, version, isRecent: isAtLeast(version, [1, 6, 2]) };
}

/** The kind that Docker or Kubernetes uses comes first, where only one of them is in use; else they stay as they are. */
export function inOrder(kinds: readonly Iptables[], listings: readonly string[]): readonly Iptables[] {
  const inUse = kinds.filter((_, at) => IN_USE.test(listings[at] ?? ''));
  return inUse.length === 1 ? [...inUse, ...kinds.filter((kind) => !inUse.includes(kind))] : kinds;
}

function isAtLeast(version: string, least: readonly number[]): boolean {
  const parts = version.split('.').map(Number);
  for (const [at, wanted] of least.entries()) {
    const part = parts[at] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}

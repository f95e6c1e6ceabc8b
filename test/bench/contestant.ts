/** Who is measured: the agents, with the flags that make them do the same work. */
import { type Agent, flanneldAt, tartan } from '../support/agent.ts';
import { findFlanneld } from '../support/flanneld.ts';
import type { Argv } from '../support/process.ts';
import { missing } from '../support/require.ts';

export interface Contestant {
  readonly name: string;
  readonly argv: Argv;
}

export interface Field {
  /** Ours first. */
  readonly contestants: readonly Contestant[];
  readonly flanneld: string | undefined;
  /** What is lacking for the reference. */
  readonly lacks: readonly string[];
}

function contestant({ name, argv }: Agent, flags: readonly string[]): Contestant {
  return { name, argv: [...argv, ...flags] };
}

/** The field, with `flags` for everybody. flanneld makes no firewall rules: tartan does not either. */
export function gather(): Field {
  const found = findFlanneld();
  // The network config asks for nftables: without them flanneld wants the br_netfilter module.
  const lacks = missing('flanneld', 'nft');
  const flanneld = lacks.length === 0 && 'path' in found ? found.path : undefined;
  const reference =
    flanneld === undefined ? [] : [contestant(flanneldAt(flanneld), ['--iptables-forward-rules=false'])];
  return { contestants: [contestant(tartan, []), ...reference], flanneld, lacks };
}

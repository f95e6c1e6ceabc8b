/** A host's packet filters, as its own programs show and set them. */
import { HostPrograms, type Outcome, type Programs, type RunOptions } from '../../backends/firewall/programs.ts';
import type { Host } from './host.ts';
import type { Place } from './namespace.ts';
import { searchPath } from './process.ts';

export type IptablesKind = 'nft' | 'legacy';

export interface Rules {
  /** What iptables-save prints, without remarks and the tables in which nobody has done anything. */
  readonly iptables: string;
  readonly ip6tables: string;
  /** What `nft list ruleset` prints, without the tables that belong to iptables. */
  readonly nft: string;
}

/** The programs of a place, for code of ours that runs outside of it; never what npm puts before them (process.ts). */
export function programsOn(place: Place): HostPrograms {
  return new HostPrograms([...place.enter, 'env', `PATH=${searchPath()}`]);
}

/** Which of both kinds `iptables` is from now on, on this host alone. */
export async function useIptables(host: Host, kind: IptablesKind): Promise<void> {
  for (const name of ['iptables', 'ip6tables']) {
    for (const part of ['', '-save', '-restore']) {
      await host.run('ln', ['-sf', `/usr/sbin/${name}-${kind}${part}`, `/etc/alternatives/${name}${part}`]);
    }
  }
}

/** The same, keeping what was written by them. */
export class RecordingPrograms implements Programs {
  readonly #programs: Programs;
  readonly written: string[] = [];

  constructor(programs: Programs) {
    this.#programs = programs;
  }

  run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome | undefined> {
    if (options.input !== undefined && !args.includes('--check')) this.written.push(options.input);
    return this.#programs.run(program, args, options);
  }
}

export async function rulesOf(host: Place): Promise<Rules> {
  const [iptables, ip6tables, nft] = await Promise.all([
    host.run('iptables-save'),
    host.run('ip6tables-save'),
    host.run('nft', ['-s', 'list', 'ruleset']),
  ]);
  return { iptables: tidy(iptables), ip6tables: tidy(ip6tables), nft: withoutIptables(nft) };
}

/** In one order, whatever the order in which a program goes through its tables. */
function tidy(saved: string): string {
  const counted = saved.replaceAll(/^(:.*) \[\d+:\d+\]$/gm, '$1 [0:0]');
  const lines = counted.split('\n').filter((line) => !line.startsWith('#') && line !== '');
  const tables = lines.join('\n').split(/(?<=^COMMIT)\n/m);
  const used = tables.filter((table) => /^-A|^:\S+ -/m.test(table));
  return used
    .toSorted()
    .map((table) => `${table.trimEnd()}\n`)
    .join('');
}

function withoutIptables(ruleset: string): string {
  const tables = ruleset.split(/^(?=table )/m);
  const others = tables.filter((table) => !/^table ip6? (?:nat|filter|raw|mangle) /.test(table));
  return others.toSorted().join('');
}

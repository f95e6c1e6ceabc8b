import type { Command } from './commands.ts';
import type { DockerOptsFlags } from './docker-opts-flags.ts';
import { blankUser } from './endpoint.ts';
import { isTakenBy, OPTION_KEYS, OPTIONS, type OptionKey, type Options } from './options.ts';

export type Origin = 'flag' | 'environment' | 'default';

/** What the operator asked for, checked. */
export interface Invocation {
  readonly command: Command;
  /** Options that the command doesn't take have their defaults. */
  readonly options: Options;
  /** What is left besides the flags: a file for `config set`, a command's words for `help`. */
  readonly args: readonly string[];
  readonly warnings: readonly string[];
  /** Where each option's value comes from, by its key in `options`. */
  readonly origins: Readonly<Record<string, Origin>>;
  /** For `docker opts` alone. */
  readonly dockerOpts: DockerOptsFlags | undefined;
}

/** The options that the command takes, as a log may show them: no password, no user in a URL. */
export function effectiveOptions(invocation: Invocation): Record<string, unknown> {
  return Object.fromEntries(
    OPTION_KEYS.filter((key) => isTakenBy(key, invocation.command)).map((key) => [key, shown(key, invocation.options)]),
  );
}

function shown(key: OptionKey, options: Options): unknown {
  const value = options[key];
  if (OPTIONS[key].isSecret === true) return value === '' ? '' : '***';
  if (key === 'etcdEndpoints') return options.etcdEndpoints.map(blankUser);
  return Array.isArray(value) ? value.map((entry: unknown) => (entry instanceof RegExp ? entry.source : entry)) : value;
}

import { parseArgs } from 'node:util';

export interface Wish {
  readonly minutes: number;
  readonly hosts: number;
  readonly seed: number;
  /** Keeps to these faults; none: all of them. */
  readonly only: readonly string[];
  /** Directory for the agents' whole logs. */
  readonly logs: string | undefined;
}

export type WishRead = { readonly ok: true; readonly wish: Wish } | { readonly ok: false; readonly reason: string };

const OPTIONS = {
  minutes: { type: 'string', default: '5' },
  hosts: { type: 'string', default: '10' },
  seed: { type: 'string' },
  only: { type: 'string', multiple: true },
  logs: { type: 'string' },
} as const;

function parsed(args: readonly string[]) {
  try {
    return { ok: true, ...parseArgs({ args: [...args], options: OPTIONS }) } as const;
  } catch (error: unknown) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) } as const;
  }
}

/**
 * `chaos [--minutes N] [--seed S] [--hosts N] [--only FAULT]... [--logs DIR]`
 * @param anySeed what to take where none is asked for
 */
export function parseWish(args: readonly string[], known: readonly string[], anySeed: number): WishRead {
  const refuse = (reason: string): WishRead => ({ ok: false, reason });
  const read = parsed(args);
  if (!read.ok) return read;
  const { values } = read;
  const minutes = Number(values.minutes);
  if (!(minutes > 0 && minutes <= 1440)) return refuse(`--minutes ${values.minutes} is no number up to 1440`);
  const hosts = Number(values.hosts);
  if (!(Number.isInteger(hosts) && hosts >= 2 && hosts <= 40)) {
    return refuse(`--hosts ${values.hosts} is no number from 2 to 40`);
  }
  if (values.seed !== undefined && !/^\d{1,9}$/.test(values.seed)) {
    return refuse(`--seed ${values.seed} is no number of up to nine digits`);
  }
  const { only = [] } = values;
  const unknown = only.filter((name) => !known.includes(name));
  if (unknown.length > 0) return refuse(`no fault ${unknown.join(', ')}; there are:\n  ${known.join('\n  ')}`);
  const seed = values.seed === undefined ? anySeed : Number(values.seed);
  return { ok: true, wish: { minutes, hosts, seed, only, logs: values.logs } };
}

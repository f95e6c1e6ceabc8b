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

const OPTIONS = {
  minutes: { type: 'string', default: '5' },
  hosts: { type: 'string', default: '10' },
  seed: { type: 'string' },
  only: { type: 'string', multiple: true },
  logs: { type: 'string' },
} as const;

/**
 * `chaos [--minutes N] [--seed S] [--hosts N] [--only FAULT]... [--logs DIR]`
 * Throws what is wrong with it.
 * @param anySeed what to take where none is asked for
 */
export function parseWish(args: readonly string[], known: readonly string[], anySeed: number): Wish {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  const minutes = Number(values.minutes);
  if (!(minutes > 0 && minutes <= 1440)) throw new RangeError(`--minutes ${values.minutes} is no number up to 1440`);
  const hosts = Number(values.hosts);
  if (!(Number.isInteger(hosts) && hosts >= 2 && hosts <= 40)) {
    throw new RangeError(`--hosts ${values.hosts} is no number from 2 to 40`);
  }
  if (values.seed !== undefined && !/^\d{1,9}$/.test(values.seed)) {
    throw new RangeError(`--seed ${values.seed} is no number of up to nine digits`);
  }
  const { only = [] } = values;
  const unknown = only.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new RangeError(`no fault ${unknown.join(', ')}; there are:\n  ${known.join('\n  ')}`);
  const seed = values.seed === undefined ? anySeed : Number(values.seed);
  return { minutes, hosts, seed, only, logs: values.logs };
}

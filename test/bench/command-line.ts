import { parseArgs } from 'node:util';

export interface Wish {
  /** Names of suites; none: all of them. */
  readonly suites: readonly string[];
  readonly json: boolean;
  readonly full: boolean;
  readonly runs: number;
}

const OPTIONS = {
  json: { type: 'boolean', default: false },
  full: { type: 'boolean', default: false },
  runs: { type: 'string', default: '5' },
} as const;

/** `bench [SUITE ...] [--runs N] [--full] [--json]`; throws what is wrong with it. */
export function parseWish(args: readonly string[], known: readonly string[]): Wish {
  const { values, positionals: suites } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  const unknown = suites.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new RangeError(`no suite ${unknown.join(', ')}; there are ${known.join(', ')}`);
  if (!/^[1-9]\d{0,3}$/.test(values.runs)) throw new RangeError(`--runs ${values.runs} is no number from 1 to 9999`);
  return { suites, json: values.json, full: values.full, runs: Number(values.runs) };
}

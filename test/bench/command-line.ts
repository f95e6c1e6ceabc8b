import { parseArgs } from 'node:util';
import type { Size } from './suite.ts';

export interface Wish {
  /** Names of suites; none: all but those that have to be named. */
  readonly suites: readonly string[];
  readonly output: 'tables' | 'json' | 'markdown';
  readonly size: Size;
  readonly runs: number;
  /** With the committed baseline: compared, or written anew for what was measured. */
  readonly baseline: 'compare' | 'save' | undefined;
}

const OPTIONS = {
  json: { type: 'boolean', default: false },
  markdown: { type: 'boolean', default: false },
  full: { type: 'boolean', default: false },
  reduced: { type: 'boolean', default: false },
  compare: { type: 'boolean', default: false },
  'save-baseline': { type: 'boolean', default: false },
  runs: { type: 'string', default: '5' },
} as const;

const EXCLUSIVE = [
  ['json', 'markdown'],
  ['full', 'reduced'],
  ['compare', 'save-baseline'],
] as const;

/**
 * `bench [SUITE ...] [--runs N] [--full|--reduced] [--json|--markdown] [--compare|--save-baseline]`; throws what is wrong
 * with it.
 */
export function parseWish(args: readonly string[], known: readonly string[]): Wish {
  const { values, positionals: suites } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  const unknown = suites.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new RangeError(`no suite ${unknown.join(', ')}; there are ${known.join(', ')}`);
  const both = EXCLUSIVE.find(([one, other]) => values[one] && values[other]);
  if (both) throw new RangeError(`--${both[0]} or --${both[1]}, not both`);
  if (!/^[1-9]\d{0,3}$/.test(values.runs)) throw new RangeError(`--runs ${values.runs} is no number from 1 to 9999`);
  return {
    suites,
    output: values.json ? 'json' : values.markdown ? 'markdown' : 'tables',
    size: values.full ? 'full' : values.reduced ? 'reduced' : 'usual',
    runs: Number(values.runs),
    baseline: values.compare ? 'compare' : values['save-baseline'] ? 'save' : undefined,
  };
}

import { parseArgs } from 'node:util';

export interface Wish {
  /** Names of suites; none: all of them. */
  readonly suites: readonly string[];
  readonly json: boolean;
  readonly full: boolean;
  readonly runs: number;
}

export type WishRead = { readonly ok: true; readonly wish: Wish } | { readonly ok: false; readonly reason: string };

const OPTIONS = {
  json: { type: 'boolean', default: false },
  full: { type: 'boolean', default: false },
  runs: { type: 'string', default: '5' },
} as const;

function parsed(args: readonly string[]) {
  try {
    return { ok: true, ...parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true }) } as const;
  } catch (error: unknown) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) } as const;
  }
}

/** `bench [SUITE ...] [--runs N] [--full] [--json]` */
export function parseWish(args: readonly string[], known: readonly string[]): WishRead {
  const read = parsed(args);
  if (!read.ok) return read;
  const { values, positionals: suites } = read;
  const unknown = suites.filter((name) => !known.includes(name));
  if (unknown.length > 0) return { ok: false, reason: `no suite ${unknown.join(', ')}; there are ${known.join(', ')}` };
  if (!/^[1-9]\d{0,3}$/.test(values.runs))
    return { ok: false, reason: `--runs ${values.runs} is no number from 1 to 9999` };
  return { ok: true, wish: { suites, json: values.json, full: values.full, runs: Number(values.runs) } };
}

import { parseArgs } from 'node:util';
import { STORES, type StoreSize } from './fault.ts';
import { SUBJECTS, type SubjectName } from './subject.ts';

export interface Wish {
  readonly subjects: readonly SubjectName[];
  readonly stores: readonly StoreSize[];
  /** A part of the name or the group of the faults. */
  readonly only: string;
  readonly stages: number;
  readonly markdown: boolean;
}

export type WishRead = { readonly ok: true; readonly wish: Wish } | { readonly ok: false; readonly reason: string };

export const USAGE =
  'usage: npm run faults -- [--subject tartan|flanneld|both] [--etcd one|three|both] [--only TEXT] [--side-by-side N] [--markdown]';

const OPTIONS = {
  subject: { type: 'string', default: 'tartan' },
  etcd: { type: 'string', default: 'both' },
  only: { type: 'string', default: '' },
  'side-by-side': { type: 'string', default: '1' },
  markdown: { type: 'boolean', default: false },
} as const;

function parsed(args: readonly string[]) {
  try {
    return { ok: true, ...parseArgs({ args: [...args], options: OPTIONS }) } as const;
  } catch (error: unknown) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) } as const;
  }
}

/** One of the known names, or all of them for `both`. */
function chosen<T extends string>(known: readonly T[], name: string): readonly T[] {
  return known.filter((one) => name === 'both' || name === one);
}

export function parseWish(args: readonly string[]): WishRead {
  const read = parsed(args);
  if (!read.ok) return read;
  const { subject, etcd, only, 'side-by-side': stages, markdown } = read.values;
  const subjects = chosen(SUBJECTS, subject);
  const stores = chosen(STORES, etcd);
  if (subjects.length === 0)
    return { ok: false, reason: `--subject ${subject} is none of ${SUBJECTS.join(', ')}, both` };
  if (stores.length === 0) return { ok: false, reason: `--etcd ${etcd} is none of ${STORES.join(', ')}, both` };
  if (!/^[1-9]$/.test(stages)) return { ok: false, reason: `--side-by-side ${stages} is no number from 1 to 9` };
  return { ok: true, wish: { subjects, stores, only: only.toLowerCase(), stages: Number(stages), markdown } };
}

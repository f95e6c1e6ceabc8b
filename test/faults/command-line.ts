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

export const USAGE =
  'usage: npm run faults -- [--subject tartan|flanneld|both] [--etcd one|three|both] [--only TEXT] [--side-by-side N] [--markdown]';

const OPTIONS = {
  subject: { type: 'string', default: 'tartan' },
  etcd: { type: 'string', default: 'both' },
  only: { type: 'string', default: '' },
  'side-by-side': { type: 'string', default: '1' },
  markdown: { type: 'boolean', default: false },
} as const;

/** One of the known names, or all of them for `both`. */
function chosen<T extends string>(known: readonly T[], name: string): readonly T[] {
  return known.filter((one) => name === 'both' || name === one);
}

/** Throws what is wrong with it. */
export function parseWish(args: readonly string[]): Wish {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  const { subject, etcd, only, 'side-by-side': stages, markdown } = values;
  const subjects = chosen(SUBJECTS, subject);
  const stores = chosen(STORES, etcd);
  if (subjects.length === 0) throw new RangeError(`--subject ${subject} is none of ${SUBJECTS.join(', ')}, both`);
  if (stores.length === 0) throw new RangeError(`--etcd ${etcd} is none of ${STORES.join(', ')}, both`);
  if (!/^[1-9]$/.test(stages)) throw new RangeError(`--side-by-side ${stages} is no number from 1 to 9`);
  return { subjects, stores, only: only.toLowerCase(), stages: Number(stages), markdown };
}

/** Every fault that we promise to heal. */
import { CRASH } from './crash.ts';
import { DRIFT } from './drift.ts';
import { ETCD } from './etcd.ts';
import type { Fault, StoreSize } from './fault.ts';
import { HOST } from './host.ts';
import { INPUT } from './input.ts';
import { LEASES } from './leases.ts';
import type { SubjectName } from './subject.ts';

export const TABLE: readonly Fault[] = [...DRIFT, ...ETCD, ...LEASES, ...INPUT, ...CRASH, ...HOST];

/** The faults that apply. With three members: what has to do with etcd. */
export function faultsFor(subject: SubjectName, store: StoreSize): readonly Fault[] {
  return TABLE.filter(({ group, only }) => {
    if (store === 'three' && group !== 'etcd') return false;
    return (only?.subject ?? subject) === subject && (only?.etcd ?? store) === store;
  });
}

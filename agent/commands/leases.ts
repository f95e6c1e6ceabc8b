import type { Invocation } from '../../config/invocation.ts';
import type { StoredLease } from '../../leases/lease.ts';
import { readView } from '../../leases/registry.ts';
import type { Store } from '../../leases/store.ts';
import { openStore } from '../etcd-connection.ts';
import { byAddress } from '../lease-list.ts';
import { dual, duration, table } from '../status.ts';

/** Requests under way at once. */
const WINDOW = 64;

interface Row {
  readonly subnet: string;
  readonly subnet6: string | null;
  readonly publicIp: string;
  readonly publicIp6: string | null;
  readonly backend: string | null;
  readonly node: string | null;
  readonly name: string | null;
  /** null: a reservation, which does not expire. */
  readonly secondsLeft: number | null;
}

async function secondsLeft(store: Store, lease: StoredLease): Promise<number | null> {
  return lease.etcdLease === '0' ? null : Math.max(0, (await store.timeToLive(lease.etcdLease)).seconds);
}

async function rowOf(store: Store, lease: StoredLease): Promise<Row> {
  const { subnet, subnet6, publicIp, publicIp6, backendType, owner } = lease;
  return {
    ...{ subnet, subnet6: subnet6 ?? null, publicIp, publicIp6: publicIp6 ?? null, backend: backendType || null },
    ...{ node: owner?.node ?? null, name: owner?.name ?? null, secondsLeft: await secondsLeft(store, lease) },
  };
}

function cells(row: Row): string[] {
  const left = row.secondsLeft === null ? 'reservation' : duration(row.secondsLeft);
  return [
    dual(row.subnet, row.subnet6),
    dual(row.publicIp, row.publicIp6),
    row.backend ?? '-',
    row.name ?? (row.secondsLeft === null ? '-' : '(flanneld)'),
    left,
  ];
}

/** `tartan leases`: every lease in etcd, by address. */
export async function leases({ options }: Invocation): Promise<number> {
  const store = await openStore(options);
  try {
    const found = (await readView(store, options.etcdPrefix)).leases.toSorted(byAddress);
    const rows: Row[] = [];
    for (let i = 0; i < found.length; i += WINDOW) {
      rows.push(...(await Promise.all(found.slice(i, i + WINDOW).map((lease) => rowOf(store, lease)))));
    }
    const head = ['SUBNET', 'PUBLIC IP', 'BACKEND', 'NODE', 'TIME LEFT'];
    const text = options.json ? JSON.stringify(rows, null, 2) : table([head, ...rows.map(cells)]);
    process.stdout.write(`${text}\n`);
    return 0;
  } finally {
    await store.close();
  }
}

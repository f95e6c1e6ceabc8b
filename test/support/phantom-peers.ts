/**
 * Peers that are not there, in two settings: from one to the other some go, some come, and some stay with another MAC.
 * An agent programs them as it would real ones.
 */

import type { Lab } from './hosts.ts';
import { peerLease } from './peers.ts';

const SETTINGS = [
  { first: 0, count: 40, mac: '02:42:0a:00' },
  { first: 20, count: 50, mac: '02:42:0a:01' },
] as const;

/** How many leases change from one setting to the other. */
export const CHANGES = 70;

function setting(number: number): ReadonlyMap<string, string> {
  const { first, count, mac } = SETTINGS[number % 2 === 0 ? 0 : 1];
  const leases = Array.from({ length: count }, (_, i) => peerLease(first + i));
  return new Map(leases.map(({ key, value }) => [key, value.replace(SETTINGS[0].mac, mac)]));
}

/** Even numbers are the one setting, odd ones the other; in one transaction. @returns how many peers there are then */
export async function setPeers({ etcd }: Lab, number: number): Promise<number> {
  const [before, after] = [setting(number + 1), setting(number)];
  const gone = [...before.keys()].filter((key) => !after.has(key)).map((key) => `del ${key}`);
  const put = [...after].map(([key, value]) => `put ${key} ${JSON.stringify(value)}`);
  await etcd.ctl(['txn'], { input: `\n${[...gone, ...put].join('\n')}\n\n\n` });
  return after.size;
}

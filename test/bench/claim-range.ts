/** A network of 1,024 subnets, for hosts that claim them all at once. */
import { leaseKey } from '../../leases/codec.ts';
import { prefix as net } from '../support/addresses.ts';

export const CLAIM_NETWORK = {
  Network: '10.0.0.0/8',
  SubnetMin: '10.4.0.0',
  SubnetMax: '10.7.255.0',
  SubnetLen: 24,
  Backend: { Type: 'vxlan' },
};

/** The leases' keys of a cluster with that network. */
export function claimableKeys(prefix: string): readonly string[] {
  return Array.from({ length: 1024 }, (_, i) =>
    leaseKey(prefix, { subnet: net(`10.${4 + (i >> 8)}.${i & 255}.0/24`), subnet6: undefined }),
  );
}

/** At most `most` of the keys that are not among those, in order. */
export function firstFree(keys: readonly string[], taken: ReadonlySet<string>, most: number): readonly string[] {
  const free: string[] = [];
  for (const key of keys) {
    if (free.length === most) break;
    if (!taken.has(key)) free.push(key);
  }
  return free;
}

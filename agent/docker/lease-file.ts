/** What subnet.env and the docker options file tell of this host's lease. Pure. */
import { parseEnv } from 'node:util';
import { type Family, familyOf, type Prefix, parsePrefix } from '../../config/address.ts';
import { parsePreviousSubnet } from '../subnet-env.ts';
import type { FamilyRange, Lease } from './check-facts.ts';
import { commandFlags } from './command-flags.ts';
import { splitWords } from './unit-file.ts';

/** undefined: the text makes no sense, or names no subnet. */
export function parseLease(text: string): Lease | undefined {
  const variables = parseEnv(text);
  const { subnet, subnet6 } = parsePreviousSubnet(text);
  const ranges = [
    ...rangesOf(4, variables['FLANNEL_NETWORK'], subnet),
    ...rangesOf(6, variables['FLANNEL_IPV6_NETWORK'], subnet6),
  ];
  const mtuBytes = Number(variables['FLANNEL_MTU'] ?? Number.NaN);
  if (ranges.length === 0 || !(mtuBytes > 0)) return undefined;
  return { ranges, mtuBytes, ipMasq: variables['FLANNEL_IPMASQ'] === 'true' };
}

function rangesOf(family: Family, networks: string | undefined, subnet: Prefix | undefined): readonly FamilyRange[] {
  const found = (networks ?? '').split(',').flatMap((one) => parsePrefix(one.trim()) ?? []);
  const network = found.find((one) => familyOf(one) === family);
  return network && subnet ? [{ network, subnet }] : [];
}

/** dockerd's flags in all variables of an options file. */
export function flagsInOptions(text: string): ReadonlyMap<string, readonly string[]> {
  return commandFlags(Object.values(parseEnv(text)).flatMap((value) => splitWords(value ?? '')));
}

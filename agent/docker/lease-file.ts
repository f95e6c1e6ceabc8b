/** What subnet.env and the docker options file tell of this host's lease. Pure. */
import { parseEnv } from 'node:util';
import { familyOf } from '../../config/address.ts';
import { parseNetworks, parsePreviousSubnet } from '../subnet-env.ts';
import type { Lease } from './check-facts.ts';
import { commandFlags } from './command-flags.ts';
import { splitWords } from './unit-file.ts';

/** undefined: the text makes no sense, or names no subnet. */
export function parseLease(text: string): Lease | undefined {
  const variables = parseEnv(text);
  const { subnet, subnet6 } = parsePreviousSubnet(text);
  const networks = parseNetworks(text);
  const ranges = [subnet, subnet6].flatMap((one) => {
    const network = one && networks.find((candidate) => familyOf(candidate) === familyOf(one));
    return network ? [{ network, subnet: one }] : [];
  });
  const mtuBytes = Number(variables['FLANNEL_MTU'] ?? Number.NaN);
  if (ranges.length === 0 || !(mtuBytes > 0)) return undefined;
  return { ranges, mtuBytes, ipMasq: variables['FLANNEL_IPMASQ'] === 'true' };
}

/** dockerd's flags in all variables of an options file. */
export function flagsInOptions(text: string): ReadonlyMap<string, readonly string[]> {
  return commandFlags(Object.values(parseEnv(text)).flatMap((value) => splitWords(value ?? '')));
}

/**
 * The subnets of one family that the network config offers, with flannel's defaults and limits. All arithmetic is on
 * bigints, so nothing wraps at the end of the address space (flannel's 32-bit sums do, at 255.255.255.255).
 */
import {
  bitsOf,
  containsIp,
  type Family,
  familyOf,
  type Ip,
  ipToBigInt,
  lastAddress,
  networkAddress,
  offsetIp,
  type Prefix,
  prefixLength,
  prefixOf,
} from './address.ts';

/** Subnets of `length` bits from `min` up to and including `max`, all of them in `network`. */
export interface SubnetRange {
  readonly network: Prefix;
  readonly length: number;
  /** Address of the first subnet that may be leased. */
  readonly min: Ip;
  /** Address of the last one. */
  readonly max: Ip;
}

/** What the config says; undefined: left to the default. */
interface GivenRange {
  readonly network: Prefix;
  readonly length: number | undefined;
  readonly min: Ip | undefined;
  readonly max: Ip | undefined;
}

interface Limits {
  /** A subnet holds at least a tunnel and a bridge address. */
  readonly longestSubnet: number;
  /** Four of the smallest subnets. */
  readonly longestNetwork: number;
  readonly usualSubnet: number;
}

const LIMITS: Readonly<Record<Family, Limits>> = {
  4: { longestSubnet: 30, longestNetwork: 28, usualSubnet: 24 },
  6: { longestSubnet: 126, longestNetwork: 124, usualSubnet: 64 },
};

/** The config's keys for one family. */
export const RANGE_FIELDS = {
  4: { enable: 'EnableIPv4', network: 'Network', length: 'SubnetLen', min: 'SubnetMin', max: 'SubnetMax' },
  6: {
    enable: 'EnableIPv6',
    network: 'IPv6Network',
    length: 'IPv6SubnetLen',
    min: 'IPv6SubnetMin',
    max: 'IPv6SubnetMax',
  },
} as const;

type RangeResult =
  | { readonly ok: true; readonly range: SubnetRange }
  | { readonly ok: false; readonly problems: readonly string[] };

/** The range with flannel's defaults filled in, or every rule that it breaks. */
export function deriveRange(given: GivenRange): RangeResult {
  const length = deriveLength(given);
  if (typeof length === 'string') return { ok: false, problems: [length] };
  const range = { network: given.network, length, ...deriveBounds(given, length) };
  const problems = boundProblems(range);
  return problems.length === 0 ? { ok: true, range } : { ok: false, problems };
}

/** The subnets' length, or the problem. */
function deriveLength({ network, length }: GivenRange): number | string {
  const family = familyOf(network);
  const fields = RANGE_FIELDS[family];
  const limits = LIMITS[family];
  const networkLength = prefixLength(network);
  if (length === undefined) {
    if (networkLength > limits.longestNetwork) {
      return `${fields.network}: ${network} is too small; a /${limits.longestNetwork} is the smallest that serves`;
    }
    return networkLength <= limits.usualSubnet - 2 ? limits.usualSubnet : networkLength + 2;
  }
  if (length > limits.longestSubnet) return `${fields.length}: ${length} is more than ${limits.longestSubnet}`;
  if (length < networkLength + 2) {
    return `${fields.length}: ${length} leaves fewer than four subnets in ${network}; at least ${networkLength + 2}`;
  }
  return length;
}

/** The first subnet is left out by default: its address is the network's own. */
function deriveBounds({ network, min, max }: GivenRange, length: number): Pick<SubnetRange, 'min' | 'max'> {
  const first = networkAddress(network);
  const size = 1n << BigInt(bitsOf(familyOf(network)) - length);
  const last = networkAddress(prefixOf(lastAddress(network), length));
  return { min: min ?? offsetIp(first, size) ?? first, max: max ?? last };
}

function boundProblems({ network, length, min, max }: SubnetRange): string[] {
  const fields = RANGE_FIELDS[familyOf(network)];
  const problems: string[] = [];
  for (const [field, ip] of [
    [fields.min, min],
    [fields.max, max],
  ] as const) {
    if (!containsIp(network, ip)) problems.push(`${field}: ${ip} is not in ${fields.network} ${network}`);
    else if (networkAddress(prefixOf(ip, length)) !== ip) {
      problems.push(
        `${field}: ${ip} is not the first address of a /${length}; the nearest below is ${networkAddress(prefixOf(ip, length))}`,
      );
    }
  }
  if (problems.length === 0 && ipToBigInt(min) > ipToBigInt(max)) {
    problems.push(`${fields.min}: ${min} is after ${fields.max} ${max}, so there is no subnet to lease`);
  }
  return problems;
}

/** Whether a lease of `subnet` fits the range as flannel asks: its very length, between min and max. */
export function rangeHolds(range: SubnetRange, subnet: Prefix): boolean {
  if (familyOf(subnet) !== familyOf(range.network) || prefixLength(subnet) !== range.length) return false;
  const address = ipToBigInt(networkAddress(subnet));
  return ipToBigInt(range.min) <= address && address <= ipToBigInt(range.max);
}

/**
 * Addresses and prefixes as values: branded canonical text (RFC 5952 for IPv6), so that `===` compares them, a Map keys
 * by them and a log prints them. `parse…` is the only way in for text from outside.
 */
declare const brand: unique symbol;
/** Canonical text of an IPv4 or IPv6 address: `10.5.1.0`, `fd00::1`. */
export type Ip = string & { readonly [brand]: 'Ip' };
/** Canonical text of a network, host bits zero: `10.5.1.0/24`, `fd00:5::/64`. */
export type Prefix = string & { readonly [brand]: 'Prefix' };
/** Lower-case, colon-separated hardware address: `02:42:ac:11:00:02`. */
export type Mac = string & { readonly [brand]: 'Mac' };
export type Family = 4 | 6;

const BITS = { 4: 32, 6: 128 } as const;

export function bitsOf(family: Family): 32 | 128 {
  return BITS[family];
}

/** The IPv4 address in `text`, up to `end`, as an unsigned 32-bit number, or undefined. Leading zeros are refused (as Go does). */
function parse4(text: string, end = text.length): number | undefined {
  let value = 0;
  let octet = -1;
  let digits = 0;
  let dots = 0;
  for (let i = 0; i < end; i++) {
    const c = text.charCodeAt(i);
    if (c === 46) {
      if (octet < 0 || ++dots > 3) return undefined;
      value = value * 256 + octet;
      octet = -1;
      digits = 0;
    } else if (c >= 48 && c <= 57) {
      if (digits > 0 && octet === 0) return undefined;
      octet = (octet < 0 ? 0 : octet * 10) + (c - 48);
      if (++digits > 3 || octet > 255) return undefined;
    } else return undefined;
  }
  return dots === 3 && octet >= 0 ? value * 256 + octet : undefined;
}

function parse6(text: string): bigint | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = (half: string | undefined): number[] | undefined => {
    if (half === undefined || half === '') return [];
    const out: number[] = [];
    const parts = half.split(':');
    for (const [i, part] of parts.entries()) {
      if (i === parts.length - 1 && part.includes('.')) {
        const v4 = parse4(part);
        if (v4 === undefined) return undefined;
        out.push(Math.floor(v4 / 65536), v4 % 65536);
      } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) out.push(Number.parseInt(part, 16));
      else return undefined;
    }
    return out;
  };
  const head = groups(halves[0]);
  const tail = groups(halves[1]);
  if (!head || !tail) return undefined;
  const gap = 8 - head.length - tail.length;
  if (halves.length === 1 ? gap !== 0 : gap < 1) return undefined;
  if (halves.length === 2 && halves[0]?.includes('.')) return undefined;
  let value = 0n;
  for (const group of [...head, ...Array<number>(gap).fill(0), ...tail]) value = (value << 16n) | BigInt(group);
  return value;
}

function format4(value: number): string {
  return `${Math.floor(value / 16777216)}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

function format6(value: bigint): string {
  const groups: string[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(((value >> shift) & 0xffffn).toString(16));
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (groups[i + length] === '0') length++;
    if (length > best.length) best = { at: i, length };
    if (length > 1) i += length;
  }
  if (best.at < 0) return groups.join(':');
  return `${groups.slice(0, best.at).join(':')}::${groups.slice(best.at + best.length).join(':')}`;
}

/**
 * The address in `text`, or undefined where it is none (zones and surrounding space are none).
 * An IPv4-mapped IPv6 address is the IPv4 address, as Go's net.ParseIP has it.
 */
export function parseIp(text: string): Ip | undefined {
  if (!text.includes(':')) {
    // Without leading zeros there is one spelling.
    return parse4(text) === undefined ? undefined : (text as Ip);
  }
  const v6 = parse6(text);
  if (v6 === undefined) return undefined;
  return (v6 >> 32n === 0xffffn ? format4(Number(v6 & 0xffffffffn)) : format6(v6)) as Ip;
}

export function familyOf(value: Ip | Prefix): Family {
  return value.includes(':') ? 6 : 4;
}

/** The address as a number: IPv4 in the lowest 32 bits. */
export function ipToBigInt(ip: Ip): bigint {
  return familyOf(ip) === 4 ? BigInt(ip4ToNumber(ip)) : (parse6(ip) ?? 0n);
}

/** An IPv4 address as an unsigned 32-bit number. */
export function ip4ToNumber(ip: Ip): number {
  return parse4(ip) ?? 0;
}

/** The address with that number; `value` outside the family's range is a fault of the caller. */
export function ipFromBigInt(value: bigint, family: Family): Ip {
  if (value < 0n || value >= 1n << BigInt(BITS[family])) throw new RangeError(`no IPv${family} address: ${value}`);
  return (family === 4 ? format4(Number(value)) : format6(value)) as Ip;
}

/** 4 or 16 bytes in network order. */
export function ipToBytes(ip: Ip): Buffer {
  if (familyOf(ip) === 4) {
    const bytes = Buffer.allocUnsafe(4);
    bytes.writeUInt32BE(ip4ToNumber(ip));
    return bytes;
  }
  const value = ipToBigInt(ip);
  const bytes = Buffer.allocUnsafe(16);
  bytes.writeBigUInt64BE(value >> 64n, 0);
  bytes.writeBigUInt64BE(value & 0xffffffffffffffffn, 8);
  return bytes;
}

/** The address in the 4 or 16 bytes of network order from `at` on, or undefined for any other length. */
export function ipFromBytes(bytes: Uint8Array, at = 0, length = bytes.length - at): Ip | undefined {
  if (at + length > bytes.length) return undefined;
  // Asked so often that no view is made for it.
  if (length === 4) return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}` as Ip;
  if (length !== 16) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset + at, length);
  return format6((view.readBigUInt64BE(0) << 64n) | view.readBigUInt64BE(8)) as Ip;
}

/** `address/length`, host bits masked away; undefined where `text` is no CIDR. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const length = text.slice(slash + 1);
  if (slash < 0 || !/^(0|[1-9]\d{0,2})$/.test(length)) return undefined;
  const ip = parseIp(text.slice(0, slash));
  if (ip === undefined || (familyOf(ip) === 4 && text.slice(0, slash).includes(':'))) return undefined;
  return Number(length) > BITS[familyOf(ip)] ? undefined : prefixOf(ip, Number(length));
}

/** As `parsePrefix`; of an address without a length the prefix that holds it alone. */
export function parseIpOrPrefix(text: string): Prefix | undefined {
  const ip = parseIp(text);
  return ip === undefined ? parsePrefix(text) : prefixOf(ip, BITS[familyOf(ip)]);
}

/** The network of `length` bits that holds `ip`. */
export function prefixOf(ip: Ip, length: number): Prefix {
  const family = familyOf(ip);
  if (family === 4) {
    const value = ip4ToNumber(ip);
    const host = value % 2 ** (32 - length);
    return `${host === 0 ? ip : format4(value - host)}/${length}` as Prefix;
  }
  const shift = BigInt(BITS[family] - length);
  return `${format6((ipToBigInt(ip) >> shift) << shift)}/${length}` as Prefix;
}

/** As `prefixOf`, for an address whose host bits are known to be zero. */
export function prefixAt(network: Ip, length: number): Prefix {
  return `${network}/${length}` as Prefix;
}

/** The network's first address: the one that stands in a lease key and that peers route via. */
export function networkAddress(prefix: Prefix): Ip {
  return prefix.slice(0, prefix.indexOf('/')) as Ip;
}

export function prefixLength(prefix: Prefix): number {
  let length = 0;
  for (let i = prefix.indexOf('/') + 1; i < prefix.length; i++) length = length * 10 + prefix.charCodeAt(i) - 48;
  return length;
}

/** The network's last address (IPv4: the broadcast address). */
export function lastAddress(prefix: Prefix): Ip {
  const family = familyOf(prefix);
  return ipFromBigInt(ipToBigInt(networkAddress(prefix)) + prefixSize(prefix) - 1n, family);
}

/** How many addresses the network has. */
export function prefixSize(prefix: Prefix): bigint {
  return 1n << BigInt(BITS[familyOf(prefix)] - prefixLength(prefix));
}

/** `ip` moved by `offset`; undefined where that leaves the family's range. */
export function offsetIp(ip: Ip, offset: bigint): Ip | undefined {
  const family = familyOf(ip);
  const value = ipToBigInt(ip) + offset;
  return value < 0n || value >= 1n << BigInt(BITS[family]) ? undefined : ipFromBigInt(value, family);
}

export function containsIp(prefix: Prefix, ip: Ip): boolean {
  const family = familyOf(prefix);
  if (family !== familyOf(ip)) return false;
  // Asked so often that no text is made for it.
  if (family === 4) return sameNetwork4(prefix, prefix.indexOf('/'), ip, ip.length, prefixLength(prefix));
  return prefixOf(ip, prefixLength(prefix)) === prefix;
}

/** Whether two IPv4 texts, each up to its end, have their first `length` bits in common. */
function sameNetwork4(a: string, endOfA: number, b: string, endOfB: number, length: number): boolean {
  const size = 2 ** (32 - length);
  return Math.floor((parse4(a, endOfA) ?? 0) / size) === Math.floor((parse4(b, endOfB) ?? 0) / size);
}

/** Whether `inner` lies in `outer` (a prefix contains itself). */
export function containsPrefix(outer: Prefix, inner: Prefix): boolean {
  return prefixLength(outer) <= prefixLength(inner) && overlaps(outer, inner);
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  const family = familyOf(a);
  if (family !== familyOf(b)) return false;
  const length = Math.min(prefixLength(a), prefixLength(b));
  if (family === 4) return sameNetwork4(a, a.indexOf('/'), b, b.indexOf('/'), length);
  return prefixOf(networkAddress(a), length) === prefixOf(networkAddress(b), length);
}

/**
 * Why `ip` can't be the address of a host that packets are sent to, or undefined where it can
 * (RFC 6890's unspecified, loopback, multicast, limited broadcast and reserved class E).
 */
export function notUnicast(ip: Ip): string | undefined {
  if (familyOf(ip) === 4) {
    const first = Number.parseInt(ip, 10);
    if (first === 0) return 'unspecified';
    if (first === 127) return 'loopback';
    if (first >= 224) return first < 240 ? 'multicast' : first === 255 ? 'broadcast' : 'reserved';
    return undefined;
  }
  if (ip === '::') return 'unspecified';
  if (ip === '::1') return 'loopback';
  return ip.startsWith('ff') && ip.indexOf(':') === 4 ? 'multicast' : undefined;
}

/** RFC 3927 and RFC 4291: reachable on its own link only. */
export function isLinkLocal(ip: Ip): boolean {
  if (familyOf(ip) === 4) return ip.startsWith('169.254.');
  return /^fe[89ab][0-9a-f]:/.test(ip);
}

/** Six octets, colon-separated; undefined for anything else (Go's net.ParseMAC also takes `-`, and so do we). */
export function parseMac(text: string): Mac | undefined {
  if (/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(text)) return text as Mac;
  if (!/^[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}$/.test(text)) return undefined;
  return text.toLowerCase().replaceAll('-', ':') as Mac;
}

export function macToBytes(mac: Mac): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Of the six bytes from `at` on. */
export function macFromBytes(bytes: Uint8Array, at = 0): Mac {
  let text = HEX[bytes[at] ?? 0] ?? '';
  for (let i = at + 1; i < at + 6; i++) text += `:${HEX[bytes[i] ?? 0]}`;
  return text as Mac;
}

/** Why a station can't have `mac` (group bit set, or all zero), or undefined where it can. */
export function notUnicastMac(mac: Mac): string | undefined {
  if (mac === '00:00:00:00:00:00') return 'zero';
  return (Number.parseInt(mac, 16) & 1) === 1 ? 'multicast' : undefined;
}

/** A random locally administered unicast MAC from six random bytes. */
export function macFromRandom(random: Uint8Array): Mac {
  const bytes = Buffer.from(random.subarray(0, 6));
  bytes[0] = ((bytes[0] ?? 0) & 0xfe) | 0x02;
  return macFromBytes(bytes);
}

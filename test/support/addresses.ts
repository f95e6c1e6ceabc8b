import { type Ip, type Prefix, parseIp, parsePrefix } from '../../config/address.ts';

/** A test's own text as an address; throws where it is none. */
export function ip(text: string): Ip {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new TypeError(`no address: ${text}`);
  return parsed;
}

export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new TypeError(`no prefix: ${text}`);
  return parsed;
}

import { type Ip, type Mac, type Prefix, parseIp, parseMac, parsePrefix } from '../../config/address.ts';

/** Addresses for tests; throw on text that is none. */
export function ip(text: string): Ip {
  return parseIp(text) ?? noneIn(text);
}

export function mac(text: string): Mac {
  return parseMac(text) ?? noneIn(text);
}

export function prefix(text: string): Prefix {
  return parsePrefix(text) ?? noneIn(text);
}

function noneIn(text: string): never {
  throw new Error(`no address: ${text}`);
}

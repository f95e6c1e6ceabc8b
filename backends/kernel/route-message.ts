/**
 * Routes, linux/rtnetlink.h (RTM_NEWROUTE 24, RTM_DELROUTE 25, RTM_GETROUTE 26).
 *
 *   rtmsg | family u8 | dst length u8 | src length u8 | tos u8 | table u8 | protocol u8 | scope u8 | type u8 | flags u32 |
 *   RTA_DST 1, RTA_OIF 4 u32, RTA_GATEWAY 5, RTA_PRIORITY 6 u32, RTA_PREFSRC 7, RTA_METRICS 8, RTA_TABLE 15 u32 (the
 *   whole number),
 *   RTA_VIA 18 (u16 family and a gateway of the other family), RTA_NH_ID 30 u32
 */
import {
  bitsOf,
  type Family,
  familyOf,
  type Ip,
  networkAddress,
  type Prefix,
  parseIp,
  prefixAt,
  prefixLength,
} from '../../config/address.ts';
import { MAIN_TABLE, type Operation, type Route, type RouteInfo, RTN_UNICAST, TARTAN_PROTOCOL } from '../state.ts';
import type { RouteLookup } from './kernel.ts';
import {
  AF_INET,
  AF_INET6,
  addressFamily,
  eachAttribute,
  flagsOf,
  ipAt,
  type Message,
  type NameOf,
  NLM_F_REQUEST,
  u32At,
} from './message.ts';
import type { MessageWriter } from './message-writer.ts';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;

export const RTMSG_BYTES = 12;
export const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_TABLE = 15;
const RTA_VIA = 18;
export const RTA_NH_ID = 30;
const RTN_LOCAL = 2;
const SCOPE_UNIVERSE = 0;
const SCOPE_NOWHERE = 255;
const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;

/** `index` is not looked at where the route goes through a nexthop object. */
export function encodeRoute(writer: MessageWriter, verb: Operation['verb'], route: Route, index: number): void {
  const plain = route.nexthopId === undefined;
  writer.begin(RTM_NEWROUTE, flagsOf(verb));
  writeHeader(writer, route.dst, TARTAN_PROTOCOL, SCOPE_UNIVERSE, RTN_UNICAST, plain && route.onlink);
  writer.attributeIp(RTA_DST, networkAddress(route.dst));
  if (route.metric !== undefined) writer.attributeU32(RTA_PRIORITY, route.metric);
  if (route.nexthopId !== undefined) {
    writer.attributeU32(RTA_NH_ID, route.nexthopId);
  } else {
    if (route.gateway !== undefined) writer.attributeIp(RTA_GATEWAY, route.gateway);
    writer.attributeU32(RTA_OIF, index);
  }
  writer.end();
}

/**
 * Names neither gateway nor nexthop nor scope, which are then not compared: whatever `protocol` has put there goes,
 * and nothing of anybody else's. Without a metric the one of the lowest goes.
 */
export function encodeRouteDelete(
  writer: MessageWriter,
  { dst, metric }: Pick<Route, 'dst' | 'metric'>,
  protocol: number,
): void {
  writer.begin(RTM_DELROUTE, flagsOf('delete'));
  writeHeader(writer, dst, protocol, SCOPE_NOWHERE, 0, false);
  writer.attributeIp(RTA_DST, networkAddress(dst));
  if (metric !== undefined) writer.attributeU32(RTA_PRIORITY, metric);
  writer.end();
}

function writeHeader(
  writer: MessageWriter,
  dst: Prefix,
  protocol: number,
  scope: number,
  type: number,
  onlink: boolean,
): void {
  writer.u16((familyOf(dst) === 4 ? AF_INET : AF_INET6) | (prefixLength(dst) << 8));
  writer.u16(0);
  writer.u8(MAIN_TABLE);
  writer.u8(protocol);
  writer.u8(scope);
  writer.u8(type);
  writer.u32(onlink ? RTNH_F_ONLINK : 0);
}

/** The main table. A kernel (or socket) that is not strict ignores the filter and answers with every table. */
export function encodeRouteDump(writer: MessageWriter, flags: number, family: Family): void {
  writer.begin(RTM_GETROUTE, flags);
  writer.u32(family === 4 ? AF_INET : AF_INET6);
  writer.u32(MAIN_TABLE);
  writer.u32(0);
  writer.end();
}

/** Asks where a packet for `ip` goes. */
export function encodeRouteLookup(writer: MessageWriter, ip: Ip): void {
  const family = familyOf(ip);
  writer.begin(RTM_GETROUTE, NLM_F_REQUEST);
  writer.u32(addressFamily(ip) | (bitsOf(family) << 8));
  writer.u32(0);
  writer.u32(0);
  writer.attributeIp(RTA_DST, ip);
  writer.end();
}

interface Found {
  table: number;
  metric: number;
  nexthopId: number | undefined;
  dst: Ip | undefined;
  dev: string | undefined;
  gateway: Ip | undefined;
  source: Ip | undefined;
  hasMetrics: boolean;
}

function decodeAttributes(body: Buffer, nameOf: NameOf): Found | undefined {
  const found: Found = {
    table: body[4] ?? 0,
    metric: 0,
    nexthopId: undefined,
    dst: undefined,
    dev: undefined,
    gateway: undefined,
    source: undefined,
    hasMetrics: false,
  };
  const whole = eachAttribute(body, RTMSG_BYTES, body.length, (type, at, length) => {
    if (type === RTA_DST) found.dst = ipAt(body, at, length);
    else if (type === RTA_OIF) found.dev = nameOf(u32At(body, at, length));
    else if (type === RTA_GATEWAY) found.gateway = ipAt(body, at, length);
    else if (type === RTA_VIA && length > 2) found.gateway = ipAt(body, at + 2, length - 2);
    else if (type === RTA_PRIORITY) found.metric = u32At(body, at, length);
    else if (type === RTA_PREFSRC) found.source = ipAt(body, at, length);
    else if (type === RTA_TABLE) found.table = u32At(body, at, length);
    else if (type === RTA_METRICS) found.hasMetrics = length > 0;
    else if (type === RTA_NH_ID) found.nexthopId = u32At(body, at, length);
  });
  return whole ? found : undefined;
}

/** A route as found, with the table that it stands in. */
export interface TableRoute {
  readonly table: number;
  readonly info: RouteInfo;
}

/** The route in an RTM_NEWROUTE or RTM_DELROUTE; undefined for malformed ones, other families and cache entries. */
export function decodeRoute(message: Message, nameOf: NameOf): TableRoute | undefined {
  const { body } = message;
  const family = routeFamily(body);
  if (family === undefined || (body.readUInt32LE(8) & RTM_F_CLONED) !== 0) return undefined;
  const found = decodeAttributes(body, nameOf);
  const length = body[1] ?? 0;
  const address = found?.dst ?? parseIp(family === 4 ? '0.0.0.0' : '::');
  if (found === undefined || address === undefined) return undefined;
  if (familyOf(address) !== family || length > bitsOf(family)) return undefined;
  const info: RouteInfo = {
    family,
    dst: prefixAt(address, length),
    metric: found.metric,
    protocol: body[5] ?? 0,
    dev: found.dev,
    gateway: found.gateway,
    onlink: (body.readUInt32LE(8) & RTNH_F_ONLINK) !== 0,
    nexthopId: found.nexthopId,
    type: body[7] ?? 0,
    ...extrasOf(found),
  };
  return { table: found.table, info };
}

function extrasOf({ source, hasMetrics }: Found): Pick<RouteInfo, 'extras'> {
  const extras = [...(source === undefined ? [] : [`src ${source}`]), ...(hasMetrics ? ['metrics'] : [])];
  return extras.length > 0 ? { extras: extras.join(' ') } : {};
}

function routeFamily(body: Buffer): Family | undefined {
  if (body.length < RTMSG_BYTES) return undefined;
  return body[0] === AF_INET ? 4 : body[0] === AF_INET6 ? 6 : undefined;
}

/** The answer to `encodeRouteLookup`; undefined where the packet would go nowhere. */
export function decodeLookup(message: Message, nameOf: NameOf): RouteLookup | undefined {
  const { body } = message;
  if (routeFamily(body) === undefined) return undefined;
  const found = decodeAttributes(body, nameOf);
  const type = body[7] ?? 0;
  if (found?.dev === undefined || (type !== RTN_UNICAST && type !== RTN_LOCAL)) return undefined;
  return { dev: found.dev, gateway: found.gateway, source: found.source };
}

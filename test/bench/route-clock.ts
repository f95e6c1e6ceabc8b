/**
 * Runs on a host: says when each IPv4 route came into the main table, or went.
 *
 *     struct rtmsg { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags }
 *     attributes { u16 len; u16 type; … }
 */
import { tell } from './instant.ts';
import { listen } from './rtnetlink.ts';

const RTMGRP_IPV4_ROUTE = 0x40;
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RT_TABLE_MAIN = 254;
const RTA_DST = 1;

interface Arrival {
  readonly dst: string;
  readonly at: number;
  readonly gone: boolean;
}

/** The destination of a route message for the main table at `start`; undefined for anything else. */
function destination(bytes: Buffer, start: number, end: number): string | undefined {
  const type = bytes.readUInt16LE(start + 4);
  if ((type !== RTM_NEWROUTE && type !== RTM_DELROUTE) || bytes[start + 20] !== RT_TABLE_MAIN) return undefined;
  for (let at = start + 28; at + 4 <= end; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4) break;
    if (bytes.readUInt16LE(at + 2) === RTA_DST)
      return `${bytes.subarray(at + 4, at + 8).join('.')}/${bytes[start + 17]}`;
    at += (length + 3) & ~3;
  }
  return undefined;
}

let arrivals: Arrival[] = [];
await listen(RTMGRP_IPV4_ROUTE, {
  heard: (bytes, start, end, at) => {
    const dst = destination(bytes, start, end);
    if (dst !== undefined) arrivals.push({ dst, at, gone: bytes.readUInt16LE(start + 4) === RTM_DELROUTE });
  },
  quiet: () => {
    if (arrivals.length > 0) tell('routes', { routes: arrivals });
    arrivals = [];
  },
});

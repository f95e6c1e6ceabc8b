/**
 * Runs on a host: counts what is changed in the kernel's tables, and says when the last change came. What the kernel does
 * by itself (states of learnt neighbours) does not count. A write that changes nothing is no event for some tables.
 *
 *     struct ndmsg { u8 family; u8 pad; u16 pad; s32 ifindex; u16 state; u8 flags; u8 type }
 */
import { tell } from './instant.ts';
import { listen } from './rtnetlink.ts';

const RTMGRP_LINK = 0x1;
const RTMGRP_NEIGH = 0x4;
const RTMGRP_IPV4_IFADDR = 0x10;
const RTMGRP_IPV4_ROUTE = 0x40;
/** RTNLGRP_NEXTHOP, 32, as a bit. */
const NEXTHOP = 2 ** 31;
const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const NUD_PERMANENT = 0x80;

let writes = 0;
let lastAt = 0;
let told = 0;
await listen(RTMGRP_LINK + RTMGRP_NEIGH + RTMGRP_IPV4_IFADDR + RTMGRP_IPV4_ROUTE + NEXTHOP, {
  heard: (bytes, start, _, at) => {
    const type = bytes.readUInt16LE(start + 4);
    const isNeighbour = type === RTM_NEWNEIGH || type === RTM_DELNEIGH;
    if (isNeighbour && (bytes.readUInt16LE(start + 24) & NUD_PERMANENT) === 0) return;
    writes++;
    lastAt = at;
  },
  quiet: () => {
    if (writes > told) tell('writes', { writes, lastAt });
    told = writes;
  },
});

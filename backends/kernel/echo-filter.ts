/**
 * What the kernel tells everybody of a change that we made and that it has acknowledged says nothing new; ten thousand
 * peers make thirty thousand such messages, each a datagram of its own. A socket filter keeps them from our monitor:
 *
 *   port u32 at 12   not that of our requests ───────────────► pass    (nlmsghdr, linux/netlink.h)
 *   type u16 at 4    route, nexthop, neighbour that is set ──► drop
 *                    anything else ──────────────────────────► pass
 *
 * Of forwarding entries, of neighbours that go, and of an IPv6 route that goes along with its nexthop the kernel tells no
 * port.
 */
import type { Operation } from '../state.ts';
import { RTM_NEWNEIGH } from './neighbour-message.ts';
import { RTM_DELNEXTHOP, RTM_NEWNEXTHOP } from './nexthop-message.ts';
import { RTM_DELROUTE, RTM_NEWROUTE } from './route-message.ts';
import { assembled, JUMP_IF_EQUAL, LOAD_HALF, LOAD_WORD, swapped16, swapped32 } from './socket-filter.ts';

const AT = { type: 4, port: 12 } as const;
const DROPPED = [RTM_NEWNEIGH, RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWNEXTHOP, RTM_DELNEXTHOP];

/** The program for a monitor beside requests from that netlink port. */
export function echoFilter(ownPort: number): Buffer {
  const isOneOf = DROPPED.map((type) => ({ code: JUMP_IF_EQUAL, k: swapped16(type), yes: 'drop' as const }));
  return assembled([
    { code: LOAD_WORD, k: AT.port },
    { code: JUMP_IF_EQUAL, k: swapped32(ownPort), no: 'pass' },
    { code: LOAD_HALF, k: AT.type },
    ...isOneOf,
  ]);
}

/** Whether our own monitor hears of it all the same. */
export function isHeard({ verb, object }: Operation): boolean {
  switch (object.kind) {
    case 'nexthop':
    case 'route':
      return false;
    case 'neighbour':
      return verb === 'delete';
    default:
      return true;
  }
}

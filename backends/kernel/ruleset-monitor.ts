/**
 * Tells when somebody has changed nftables' ruleset, to which iptables-nft belongs; of the old iptables the kernel tells
 * nothing. Each transaction ends with one message of its own, NFT_MSG_NEWGEN; what it changed comes before, a message
 * for each rule, and is kept from us by the socket filter:
 *
 *   type u16 at 4   NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN ──► pass    (nlmsghdr; linux/netfilter/nf_tables.h)
 *                   anything else ───────────────────────────────► drop
 */
import { TartanError, toError } from '../../config/errors.ts';
import type { Log } from '../../config/log.ts';
import { NETLINK_NETFILTER, NetlinkSocket } from './netlink-socket.ts';
import { assembled, JUMP_IF_EQUAL, LOAD_HALF, swapped16 } from './socket-filter.ts';

const NFNLGRP_NFTABLES = 7;
const NEWGEN = (10 << 8) | 15;
const TYPE_AT = 4;
const BUFFER_BYTES = 1 << 20;
const DATAGRAM_BYTES = 4096;

/**
 * Has the listener called whenever nftables have changed, by us too, until what it returns is called; undefined where the
 * kernel does not tell. Of the old iptables' tables it never does.
 */
export type WatchRuleset = (listener: () => void) => (() => void) | undefined;

/** One socket for all listeners: opened for the first, closed with the last. A kernel that refuses it is logged once. */
export function rulesetWatch(log: Log): WatchRuleset {
  const listeners = new Set<() => void>();
  const tell = (): void => {
    for (const listener of listeners) listener();
  };
  let socket: NetlinkSocket | undefined;
  let isRefused = false;
  return (listener) => {
    try {
      if (isRefused) return undefined;
      if (socket === undefined) {
        socket = opened(log);
        socket.listen(tell, tell);
      }
    } catch (error: unknown) {
      isRefused = true;
      log.info('changes of nftables are not told by the kernel', { error: toError(error).message });
      return undefined;
    }
    listeners.add(listener);
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return;
      socket?.close();
      socket = undefined;
    };
  };
}

function opened(log: Log): NetlinkSocket {
  const sizes = { bufferBytes: BUFFER_BYTES, datagramBytes: DATAGRAM_BYTES };
  const socket = new NetlinkSocket(log, { protocol: NETLINK_NETFILTER, ...sizes });
  const program = [
    { code: LOAD_HALF, k: TYPE_AT },
    { code: JUMP_IF_EQUAL, k: swapped16(NEWGEN), no: 'drop' as const },
  ];
  // Unfiltered it would be told every rule: better nothing at all.
  const refused = socket.filter(assembled(program)) ?? (socket.join(NFNLGRP_NFTABLES) ? undefined : 'group refused');
  if (refused === undefined) return socket;
  socket.close();
  throw new TartanError('KERNEL', refused);
}

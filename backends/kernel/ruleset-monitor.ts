/**
 * Tells when somebody has changed nftables' ruleset, to which iptables-nft belongs; of the old iptables the kernel tells
 * nothing. Each transaction ends with one message of its own, NFT_MSG_NEWGEN; what it changed comes before, a message
 * for each rule, and is kept from us by the socket filter:
 *
 *   type u16 at 4   NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN ──► pass    (nlmsghdr; linux/netfilter/nf_tables.h)
 *                   anything else ───────────────────────────────► drop
 */
import type { Log } from '../../config/log.ts';
import { NetlinkSocket } from './netlink-socket.ts';
import { assembled, JUMP_IF_EQUAL, LOAD_HALF, swapped16 } from './socket-filter.ts';

const NETLINK_NETFILTER = 12;
const NFNLGRP_NFTABLES = 7;
const NEWGEN = (10 << 8) | 15;
const TYPE_AT = 4;
const BUFFER_BYTES = 1 << 20;
const DATAGRAM_BYTES = 4096;

export class RulesetMonitor {
  readonly #socket: NetlinkSocket;

  /** `listener`: called after each change, ours too. Throws TartanError KERNEL where the kernel has no such socket. */
  constructor(log: Log, listener: () => void) {
    const sizes = { bufferBytes: BUFFER_BYTES, datagramBytes: DATAGRAM_BYTES };
    this.#socket = new NetlinkSocket(log, { protocol: NETLINK_NETFILTER, ...sizes });
    this.#socket.listen(listener, listener);
    const program = [
      { code: LOAD_HALF, k: TYPE_AT },
      { code: JUMP_IF_EQUAL, k: swapped16(NEWGEN), no: 'drop' as const },
    ];
    const refused = this.#socket.filter(assembled(program)) ?? this.#join();
    if (refused !== undefined) log.info('changes of nftables are not told by the kernel', { error: refused });
  }

  #join(): string | undefined {
    return this.#socket.join(NFNLGRP_NFTABLES) ? undefined : 'group refused';
  }

  close(): void {
    this.#socket.close();
  }
}

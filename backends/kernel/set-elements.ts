/**
 * Adds addresses to a set of nftables within a system call: a program would take ten milliseconds, and a busy machine's
 * more, in which whoever is new is kept out. linux/netfilter/nfnetlink.h and nf_tables.h:
 *
 *   | BATCH_BEGIN | NEWSETELEM | BATCH_END |                             one datagram, one transaction
 *   each: nlmsghdr | family u8 | version u8 = 0 | res_id u16, network order |  attribute*
 *   NEWSETELEM: TABLE string | SET string | ELEMENTS ( ELEM ( KEY ( VALUE address ) ) * )
 */
import type { Ip } from '../../config/address.ts';
import { ipToBytes } from '../../config/address.ts';
import { toError } from '../../config/errors.ts';
import type { Log } from '../../config/log.ts';
import { NLM_F_CREATE, NLM_F_REQUEST } from './message.ts';
import { MessageWriter } from './message-writer.ts';
import { NETLINK_NETFILTER, NetlinkSocket } from './netlink-socket.ts';

const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_NEWSETELEM = 12;
const NFPROTO_UNSPEC = 0;
const NFPROTO_INET = 1;
const NFTA_SET_ELEM_LIST = { TABLE: 1, SET: 2, ELEMENTS: 3 } as const;
const NFTA_LIST_ELEM = 1;
const NFTA_SET_ELEM_KEY = 1;
const NFTA_DATA_VALUE = 1;

const BUFFER_BYTES = 1 << 16;
/** 32 bytes each with IPv6: well within the buffer. */
const MOST = 128;

export class SetElements {
  readonly #log: Log;
  #writer: MessageWriter | undefined;
  #socket: NetlinkSocket | undefined;
  #isRefused = false;

  constructor(log: Log) {
    this.#log = log;
  }

  /** @param table of the family inet, by its name alone. Whether it could be done is not told. */
  add(table: string, set: string, ips: readonly Ip[]): void {
    if (this.#isRefused) return;
    try {
      this.#socket ??= new NetlinkSocket(this.#log, {
        protocol: NETLINK_NETFILTER,
        bufferBytes: BUFFER_BYTES,
        datagramBytes: 4096,
      });
      for (let at = 0; at < ips.length; at += MOST) this.#send(this.#socket, table, set, ips.slice(at, at + MOST));
    } catch (error: unknown) {
      this.#isRefused = true;
      this.#log.debug('sets of nftables are changed by nft alone', { error: toError(error).message });
    }
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
    this.#isRefused = true;
  }

  #send(socket: NetlinkSocket, table: string, set: string, ips: readonly Ip[]): void {
    this.#writer ??= new MessageWriter(BUFFER_BYTES);
    const writer = this.#writer;
    writer.reset(socket.reserve(3));
    begin(writer, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES);
    writer.end();
    const type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_NEWSETELEM;
    begin(writer, type, NLM_F_REQUEST | NLM_F_CREATE, NFPROTO_INET, 0);
    writer.attributeBytes(NFTA_SET_ELEM_LIST.TABLE, Buffer.from(`${table}\0`));
    writer.attributeBytes(NFTA_SET_ELEM_LIST.SET, Buffer.from(`${set}\0`));
    writer.attributeNest(NFTA_SET_ELEM_LIST.ELEMENTS, () => {
      for (const ip of ips) {
        const value = (): void => writer.attributeBytes(NFTA_DATA_VALUE, ipToBytes(ip));
        writer.attributeNest(NFTA_LIST_ELEM, () => writer.attributeNest(NFTA_SET_ELEM_KEY, value));
      }
    });
    writer.end();
    begin(writer, NFNL_MSG_BATCH_END, NLM_F_REQUEST, NFPROTO_UNSPEC, NFNL_SUBSYS_NFTABLES);
    writer.end();
    socket.tell(writer);
  }
}

function begin(writer: MessageWriter, type: number, flags: number, family: number, resource: number): void {
  writer.begin(type, flags);
  writer.u8(family);
  writer.u8(0);
  writer.u16(((resource & 0xff) << 8) | (resource >> 8));
}

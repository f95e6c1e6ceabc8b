/**
 * The two sockets of the path probe. Node makes neither: one hears the answers to echoes, and tells when the kernel got
 * them; the other sends datagrams that no router may fragment, and hears nothing.
 *
 *   struct msghdr, 64-bit                        control message                     from Linux 2.6 on
 *     0  name: pointer, 8: its length u32          0  length u64
 *    16  vectors: pointer, 24: how many u64        8  level i32, 12: type i32
 *    32  control: pointer, 40: its length u64     16  seconds i64, 24: nanoseconds i64
 *    48  flags i32                               struct iovec: pointer, length u64
 */
import { closeSync } from 'node:fs';
import { type Family, familyOf, type Ip } from '../../config/address.ts';
import type { KernelRefusal } from './kernel.ts';
import { addressOf, declare, declared, lacksLayouts, lastError } from './libc.ts';
import { sendTo } from './packet-calls.ts';
import { AF_INET, AF_INET6, parseSocketAddress, socketAddress } from './socket-address.ts';
import {
  assembled,
  JUMP_IF_EQUAL,
  LOAD_BYTE,
  LOAD_BYTE_INDEXED,
  LOAD_HALF,
  LOAD_HALF_INDEXED,
  LOAD_INDEX,
} from './socket-filter.ts';
import { attachFilter, setSocketOption } from './syscalls.ts';

const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const SOL_SOCKET = 1;
const SO_TIMESTAMPNS = 35;
const IPPROTO_IP = 0;
const IPPROTO_ICMP = 1;
const IPPROTO_IPV6 = 41;
const IPPROTO_ICMPV6 = 58;
const IP_MTU_DISCOVER = 10;
const IP_FREEBIND = 15;
const IPV6_MTU_DISCOVER = 23;
const IPV6_DONTFRAG = 62;
const IPV6_FREEBIND = 78;
/** "Don't fragment" is set, and what was learnt of the path's MTU is not looked at. */
const PMTUDISC_PROBE = 3;
const CLOCK_REALTIME = 0;
/** Type octets of the answers. */
const ECHO_REPLY = { 4: 0, 6: 129 } as const;

const MESSAGE_BYTES = 65_536;
const NAME_BYTES = 28;
const CONTROL_BYTES = 64;
const STAMP_BYTES = 32;

interface Calls {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Buffer, length: number): number;
  recvmsg(fd: number, message: Buffer, flags: number): number;
  clock_gettime(clock: number, time: Buffer): number;
}

const calls = declared<Calls>(() => ({
  socket: declare('int socket(int domain, int type, int protocol)'),
  bind: declare('int bind(int fd, const void *address, uint32_t length)'),
  recvmsg: declare('intptr_t recvmsg(int fd, void *message, int flags)'),
  clock_gettime: declare('int clock_gettime(int clock, void *time)'),
}));

/** struct timespec. */
const time = Buffer.alloc(16);

/** Wall clock in nanoseconds since the epoch, as the kernel stamps packets. */
export function wallNanoseconds(): bigint {
  calls().clock_gettime(CLOCK_REALTIME, time);
  return time.readBigInt64LE(0) * 1_000_000_000n + time.readBigInt64LE(8);
}

/**
 * A UDP socket on a port that the kernel chooses, whose packets carry "don't fragment" and may be as large as the
 * device's MTU. Nothing that is sent to it arrives.
 * @returns the descriptor, for dgram's `bind({ fd })`; EADDRNOTAVAIL: the host does not have the address
 */
export function openUnfragmentedSocket(local: Ip): number | KernelRefusal {
  const isV4 = familyOf(local) === 4;
  const fd = calls().socket(isV4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return { errno: lastError(), detail: 'socket' };
  const options: readonly (readonly [level: number, option: number, value: number])[] = isV4
    ? [[IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE]]
    : [
        [IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE],
        [IPPROTO_IPV6, IPV6_DONTFRAG, 1],
      ];
  for (const [level, option, value] of options) {
    const refused = setSocketOption(fd, level, option, value);
    if (refused !== undefined) return closed(fd, refused, "don't fragment");
  }
  attachFilter(fd, nothing());
  const address = socketAddress(local, 0);
  return calls().bind(fd, address, address.length) === 0 ? fd : closed(fd, lastError(), `bind to ${local}`);
}

export interface EchoAnswer {
  readonly source: Ip;
  /** IPv4: the whole packet, whose ICMP checksum nobody has looked at. IPv6: the ICMPv6 message. Good until the next. */
  readonly bytes: Buffer;
  /** Wall clock in nanoseconds: when it came in; undefined where the kernel does not tell. */
  readonly at: bigint | undefined;
}

/**
 * Hears the answers to this process's echoes, and nothing else: a socket filter looks at type and id. They wait in the
 * socket's buffer until they are read; Node can't be told of them.
 */
export class EchoSocket {
  readonly #fd: number;
  readonly #name = Buffer.alloc(NAME_BYTES);
  readonly #data = Buffer.alloc(MESSAGE_BYTES);
  readonly #control = Buffer.alloc(CONTROL_BYTES);
  readonly #vector = Buffer.alloc(16);
  readonly #header = Buffer.alloc(56);

  private constructor(fd: number) {
    this.#fd = fd;
    this.#vector.writeBigUInt64LE(addressOf(this.#data), 0);
    this.#vector.writeBigUInt64LE(BigInt(MESSAGE_BYTES), 8);
    this.#header.writeBigUInt64LE(addressOf(this.#name), 0);
    this.#header.writeBigUInt64LE(addressOf(this.#vector), 16);
    this.#header.writeBigUInt64LE(1n, 24);
    this.#header.writeBigUInt64LE(addressOf(this.#control), 32);
  }

  /**
   * @param address echoes go out from it, and answers come back to it; the host need not have it yet
   * @param id of the echoes, 16 bits
   * @returns EPERM: CAP_NET_RAW is missing
   */
  static open(address: Ip, id: number): EchoSocket | KernelRefusal {
    const lacking = lacksLayouts();
    if (lacking) return lacking;
    const family = familyOf(address);
    const [domain, protocol] = family === 4 ? [AF_INET, IPPROTO_ICMP] : [AF_INET6, IPPROTO_ICMPV6];
    const fd = calls().socket(domain, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0) return { errno: lastError(), detail: 'socket' };
    const refused = attachFilter(fd, answersTo(id, family));
    if (refused !== undefined) return closed(fd, refused, 'socket filter');
    setSocketOption(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    if (family === 4) setSocketOption(fd, IPPROTO_IP, IP_FREEBIND, 1);
    else setSocketOption(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
    const name = socketAddress(address, 0);
    if (calls().bind(fd, name, name.length) !== 0) return closed(fd, lastError(), `bind to ${address}`);
    return new EchoSocket(fd);
  }

  /** The next answer that has come; undefined: no more. */
  receive(): EchoAnswer | undefined {
    this.#header.writeUInt32LE(NAME_BYTES, 8);
    this.#header.writeBigUInt64LE(BigInt(CONTROL_BYTES), 40);
    const length = calls().recvmsg(this.#fd, this.#header, MSG_DONTWAIT);
    if (length < 0) return undefined;
    const isCut = (this.#header.readInt32LE(48) & MSG_TRUNC) !== 0;
    const from = parseSocketAddress(this.#name.subarray(0, this.#header.readUInt32LE(8)));
    if (isCut || from === undefined) return this.receive();
    return { source: from.ip, bytes: this.#data.subarray(0, length), at: this.#stamp() };
  }

  #stamp(): bigint | undefined {
    if (this.#header.readBigUInt64LE(40) < BigInt(STAMP_BYTES)) return undefined;
    const isStamp = this.#control.readInt32LE(8) === SOL_SOCKET && this.#control.readInt32LE(12) === SO_TIMESTAMPNS;
    return isStamp ? this.#control.readBigInt64LE(16) * 1_000_000_000n + this.#control.readBigInt64LE(24) : undefined;
  }

  /** Sends an ICMP message the way the host's own packets go. @returns the error's name where it was not taken */
  send(message: Buffer, to: Ip): string | undefined {
    return sendTo(this.#fd, message, to, 0);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** For `receive` and IPv4 the data begin with the IP header, for IPv6 with the ICMPv6 message. */
function answersTo(id: number, family: Family): Buffer {
  const [byte, half, start] =
    family === 4 ? [LOAD_BYTE_INDEXED, LOAD_HALF_INDEXED, [{ code: LOAD_INDEX, k: 0 }]] : [LOAD_BYTE, LOAD_HALF, []];
  return assembled([
    ...start,
    { code: byte, k: 0 },
    { code: JUMP_IF_EQUAL, k: ECHO_REPLY[family], no: 'drop' },
    { code: half, k: 4 },
    { code: JUMP_IF_EQUAL, k: id, no: 'drop' },
  ]);
}

function nothing(): Buffer {
  return assembled([{ code: JUMP_IF_EQUAL, k: 0, yes: 'drop', no: 'drop' }]);
}

function closed(fd: number, errno: string, detail: string): KernelRefusal {
  closeSync(fd);
  return { errno, detail };
}

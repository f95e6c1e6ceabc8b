/**
 * The system calls by which packets go through user space, many with each: recvmmsg(2), sendmmsg(2), writev(2). What
 * they point to lies in one piece of memory that stays where it is, so that addresses are plain numbers.
 */
import { closeSync, writeSync } from 'node:fs';
import { familyOf, type Ip } from '../../config/address.ts';
import type { KernelRefusal } from './kernel.ts';
import { declare, declared, lacksLayouts, lastErrno, lastError } from './libc.ts';
import { AF_INET, AF_INET6, socketAddress } from './socket-address.ts';
import { setSocketOption, socketOption } from './syscalls.ts';

const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;
const F_DUPFD_CLOEXEC = 1030;
export const MSG_DONTWAIT = 0x40;

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SO_MEMINFO = 55;
/** Index of SK_MEMINFO_DROPS in what SO_MEMINFO gives: u32 each. */
const MEMINFO_DROPS = 8;
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IPPROTO_IPV6 = 41;
const IPV6_MTU_DISCOVER = 23;
const IPV6_V6ONLY = 26;
/** Packets larger than the path's MTU are fragmented. */
const PMTUDISC_DONT = 0;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;

/** Room for what comes while the worker is being started anew. */
const RECEIVE_BUFFER_BYTES = 8 << 20;
const SEND_BUFFER_BYTES = 4 << 20;

/** Bytes in front of each frame of a device, see tun.ts. */
export const VIRTIO_BYTES = 10;

/** errno(3), those that packets meet. */
export const EINTR = 4;
export const EIO = 5;
export const EAGAIN = 11;
export const EINVAL = 22;
export const EBADFD = 77;
export const EMSGSIZE = 90;

/** Each gives -1 where it failed. Addresses are in this process's memory; `flags` as the kernel has them. */
export interface PacketCalls {
  read(fd: number, address: number, length: number): number;
  writev(fd: number, vectors: number, count: number): number;
  /** How many messages were taken. */
  sendmmsg(fd: number, messages: number, count: number, flags: number): number;
  recvmmsg(fd: number, messages: number, count: number, flags: number, timeout: number): number;
  /** Of the call that failed last. */
  errno(): number;
}

/** Of this thread. */
export const packetCalls = declared<PacketCalls>(() => ({
  read: declare('intptr_t read(int fd, uintptr_t address, size_t length)'),
  writev: declare('intptr_t writev(int fd, uintptr_t vectors, int count)'),
  sendmmsg: declare('int sendmmsg(int fd, uintptr_t messages, unsigned int count, int flags)'),
  recvmmsg: declare('int recvmmsg(int fd, uintptr_t messages, unsigned int count, int flags, uintptr_t timeout)'),
  errno: lastErrno,
}));

interface SetupCalls {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Buffer, length: number): number;
  sendto(fd: number, data: Buffer, length: number, flags: number, address: Buffer, addressLength: number): number;
  eventfd(value: number, flags: number): number;
  fcntl(fd: number, command: number, argument: number): number;
}

const setupCalls = declared<SetupCalls>(() => ({
  socket: declare('int socket(int domain, int type, int protocol)'),
  bind: declare('int bind(int fd, const void *address, uint32_t length)'),
  sendto: declare(
    'intptr_t sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)',
  ),
  eventfd: declare('int eventfd(unsigned int value, int flags)'),
  fcntl: declare('int fcntl(int fd, int command, int argument)'),
}));

export interface OpenSocket {
  /** Non-blocking. */
  readonly fd: number;
  /** UDP_SEGMENT: one message may hold many datagrams of one size (Linux 4.18). */
  readonly gso: boolean;
  /** UDP_GRO: what is received may hold many (Linux 5.0). Asked for and granted. */
  readonly gro: boolean;
}

/**
 * A UDP socket for a tunnel's outer packets, bound to that address and port; packets too large for the path are
 * fragmented.
 * @returns EADDRINUSE: somebody else has the port; EADDRNOTAVAIL: the host does not have the address.
 */
export function openPacketSocket(
  local: Ip,
  port: number,
  wanted: { readonly gro: boolean },
): OpenSocket | KernelRefusal {
  const lacking = lacksLayouts();
  if (lacking) return lacking;
  const isV4 = familyOf(local) === 4;
  const fd = setupCalls().socket(isV4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return { errno: lastError(), detail: '' };
  if (isV4) setSocketOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT);
  else {
    setSocketOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    setSocketOption(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DONT);
  }
  setBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_BUFFER_BYTES);
  setBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, SEND_BUFFER_BYTES);
  const address = socketAddress(local, port);
  if (setupCalls().bind(fd, address, address.length) !== 0) {
    const errno = lastError();
    closeSync(fd);
    return { errno, detail: '' };
  }
  const gso = setSocketOption(fd, SOL_UDP, UDP_SEGMENT, 0) === undefined;
  const gro = wanted.gro && setSocketOption(fd, SOL_UDP, UDP_GRO, 1) === undefined;
  return { fd, gso, gro };
}

/** Beyond what the host allows everybody, where we may; else as much as that. */
function setBuffer(fd: number, force: number, ask: number, bytes: number): void {
  if (setSocketOption(fd, SOL_SOCKET, force, bytes) !== undefined) setSocketOption(fd, SOL_SOCKET, ask, bytes);
}

/** Pointers of 32 bits: what the kernel reads is laid out otherwise than we write it. */
const SHORT_POINTERS: readonly string[] = ['arm', 'ia32', 'mips', 'mipsel', 'ppc', 's390'];

/** Whether the calls that take many messages can be made here: a sandbox may not know them. */
export function mayBatch(): boolean {
  if (SHORT_POINTERS.includes(process.arch)) return false;
  const fd = setupCalls().socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const { sendmmsg, recvmmsg } = packetCalls();
  const may = sendmmsg(fd, 0, 0, MSG_DONTWAIT) >= 0 && recvmmsg(fd, 0, 0, MSG_DONTWAIT, 0) >= 0;
  closeSync(fd);
  return may;
}

/** How many datagrams came and found no room in the socket's buffer; undefined where the kernel does not tell. */
export function receiveDrops(fd: number): number | undefined {
  const info = socketOption(fd, SOL_SOCKET, SO_MEMINFO, 4 * (MEMINFO_DROPS + 1));
  return info && info.length > 4 * MEMINFO_DROPS ? info.readUInt32LE(4 * MEMINFO_DROPS) : undefined;
}

/** One datagram, here and now. @returns the error's name where it was not taken */
export function sendTo(fd: number, data: Buffer, ip: Ip, port: number): string | undefined {
  const address = socketAddress(ip, port);
  const sent = setupCalls().sendto(fd, data, data.length, MSG_DONTWAIT, address, address.length);
  return sent < 0 ? lastError() : undefined;
}

/** The descriptor of a doorbell that poll(2) hears: eventfd(2). */
export function makeDoorbell(): number {
  const fd = setupCalls().eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) throw new Error(`eventfd: ${lastError()}`);
  return fd;
}

const ONE = Buffer.alloc(8);
ONE.writeBigUInt64LE(1n);

export function ringDoorbell(fd: number): void {
  writeSync(fd, ONE);
}

/** Another descriptor of the same socket, which may be closed by itself. */
export function duplicate(fd: number): number {
  const copy = setupCalls().fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw new Error(`fcntl: ${lastError()}`);
  return copy;
}

/**
 * Runs on a host: listens to rtnetlink and says when each IPv4 route came into the main table, or went. It sits in a blocking
 * recv(2), which returns at once when the kernel has something; the event loop, which takes its time, is only for
 * printing when nothing more has come for a while.
 *
 *     struct nlmsghdr { u32 len; u16 type; u16 flags; u32 seq; u32 pid }
 *     struct rtmsg { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags }
 *     attributes { u16 len; u16 type; … }
 */
import { setImmediate as turn } from 'node:timers/promises';
import koffi from 'koffi';
import { instant, tell } from './instant.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_ROUTE = 0;
const RTMGRP_IPV4_ROUTE = 0x40;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_RCVBUFFORCE = 33;
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RT_TABLE_MAIN = 254;
const RTA_DST = 1;
const EINTR = 4;
const EAGAIN = 11;
const BUFFER_BYTES = 64 << 20;
const QUIET_MICROSECONDS = 20_000n;

const libc = koffi.load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const void *address, uint32_t length)');
const setsockopt = libc.func('int setsockopt(int fd, int level, int option, const void *value, uint32_t length)');
const recv = libc.func('intptr_t recv(int fd, void *buffer, size_t length, int flags)');

interface Arrival {
  readonly dst: string;
  readonly at: number;
  readonly gone: boolean;
}

function check(result: number, what: string): number {
  if (result < 0) throw new Error(`${what}: errno ${koffi.errno()}`);
  return result;
}

function listen(): number {
  const fd = check(socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE), 'socket');
  const size = Buffer.alloc(4);
  size.writeInt32LE(BUFFER_BYTES);
  check(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, size.length), 'SO_RCVBUFFORCE');
  const timeout = Buffer.alloc(16);
  timeout.writeBigInt64LE(QUIET_MICROSECONDS, 8);
  check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length), 'SO_RCVTIMEO');
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  address.writeUInt32LE(RTMGRP_IPV4_ROUTE, 8);
  check(bind(fd, address, address.length), 'bind');
  return fd;
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

function read(bytes: Buffer, length: number, at: number, arrivals: Arrival[]): void {
  for (let start = 0; start + 28 <= length; ) {
    const size = bytes.readUInt32LE(start);
    if (size < 16) return;
    const dst = destination(bytes, start, start + size);
    const gone = bytes.readUInt16LE(start + 4) === RTM_DELROUTE;
    if (dst !== undefined) arrivals.push({ dst, at, gone });
    start += (size + 3) & ~3;
  }
}

const fd = listen();
const bytes = Buffer.alloc(64 << 10);
let arrivals: Arrival[] = [];
tell('listening', { fd });
for (;;) {
  const length = Number(recv(fd, bytes, bytes.length, 0));
  if (length > 0) {
    read(bytes, length, instant(), arrivals);
    continue;
  }
  const errno = koffi.errno();
  if (errno !== EAGAIN && errno !== EINTR) tell('lost', { errno });
  if (arrivals.length > 0) tell('routes', { routes: arrivals });
  arrivals = [];
  await turn();
}

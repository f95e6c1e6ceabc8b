/**
 * Listening to rtnetlink, and to the instant. It sits in a blocking recv(2), which returns at once when the kernel has
 * something; the event loop, which takes its time, is only for printing when nothing more has come for a while.
 *
 *     struct nlmsghdr { u32 len; u16 type; u16 flags; u32 seq; u32 pid }
 */
import { setImmediate as turn } from 'node:timers/promises';
import koffi from 'koffi';
import { comeFirst, instant, tell } from './instant.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_ROUTE = 0;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_RCVBUFFORCE = 33;
const EINTR = 4;
const EAGAIN = 11;
const BUFFER_BYTES = 64 << 20;
const QUIET_MICROSECONDS = 20_000n;
/** Header of a message, and the shortest that comes behind it. */
const LEAST_BYTES = 16 + 8;

const libc = koffi.load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const void *address, uint32_t length)');
const setsockopt = libc.func('int setsockopt(int fd, int level, int option, const void *value, uint32_t length)');
const recv = libc.func('intptr_t recv(int fd, void *buffer, size_t length, int flags)');

export interface Listener {
  /** A message from `start` to `end`, and when it was read. */
  heard(bytes: Buffer, start: number, end: number, at: number): void;
  /** Nothing more has come for a while. */
  quiet(): void;
}

function check(result: number, what: string): number {
  if (result < 0) throw new Error(`${what}: errno ${koffi.errno()}`);
  return result;
}

function open(groups: number): number {
  const fd = check(socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE), 'socket');
  const size = Buffer.alloc(4);
  size.writeInt32LE(BUFFER_BYTES);
  check(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, size.length), 'SO_RCVBUFFORCE');
  const timeout = Buffer.alloc(16);
  timeout.writeBigInt64LE(QUIET_MICROSECONDS, 8);
  check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length), 'SO_RCVTIMEO');
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  address.writeUInt32LE(groups >>> 0, 8);
  check(bind(fd, address, address.length), 'bind');
  return fd;
}

function split(bytes: Buffer, length: number, at: number, { heard }: Listener): void {
  for (let start = 0; start + LEAST_BYTES <= length; ) {
    const size = bytes.readUInt32LE(start);
    if (size < LEAST_BYTES) return;
    heard(bytes, start, start + size, at);
    start += (size + 3) & ~3;
  }
}

/** Listens to these groups (a mask, RTMGRP_*) for ever; says `listening` when it does, and `lost` where events were. */
export async function listen(groups: number, listener: Listener): Promise<never> {
  comeFirst();
  const fd = open(groups);
  const bytes = Buffer.alloc(64 << 10);
  tell('listening', { fd });
  for (;;) {
    const length = Number(recv(fd, bytes, bytes.length, 0));
    if (length > 0) {
      split(bytes, length, instant(), listener);
      continue;
    }
    const errno = koffi.errno();
    if (errno !== EAGAIN && errno !== EINTR) tell('lost', { errno });
    listener.quiet();
    await turn();
  }
}

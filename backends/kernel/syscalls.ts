/** System calls that Node has no function for. */
import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { TartanError } from '../../config/errors.ts';
import { addressOf, declare, declared, lastError } from './libc.ts';

interface Libc {
  setsockopt(fd: number, level: number, option: number, value: Buffer, length: number): number;
  getsockopt(fd: number, level: number, option: number, value: Buffer, length: Uint32Array): number;
  flock(fd: number, operation: number): number;
  socket(domain: number, type: number, protocol: number): number;
  send(fd: number, data: Buffer, length: number, flags: number): number;
  sendto(fd: number, data: Buffer, length: number, flags: number, address: Buffer, addressLength: number): number;
  _exit(status: number): void;
}

const LOCK_EX = 2;
const LOCK_NB = 4;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** sizeof sun_path. */
const UNIX_PATH_BYTES = 108;

const libc = declared<Libc>(() => ({
  setsockopt: declare('int setsockopt(int fd, int level, int option, const void *value, uint32_t length)'),
  getsockopt: declare('int getsockopt(int fd, int level, int option, void *value, uint32_t *length)'),
  flock: declare('int flock(int fd, int operation)'),
  socket: declare('int socket(int domain, int type, int protocol)'),
  send: declare('intptr_t send(int fd, const void *data, size_t length, int flags)'),
  sendto: declare(
    'intptr_t sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)',
  ),
  _exit: declare('void _exit(int status)'),
}));

/**
 * setsockopt(2) with an int.
 * @returns undefined where it is done, else the error's name (`EPERM`).
 */
export function setSocketOption(fd: number, level: number, option: number, value: number): string | undefined {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return libc().setsockopt(fd, level, option, bytes, 4) === 0 ? undefined : lastError();
}

/**
 * SO_ATTACH_FILTER: from now on the socket gets only what the program lets pass; socket(7), linux/filter.h.
 * @param program struct sock_filter, 8 bytes each
 * @returns undefined where it is done, else the error's name.
 */
export function attachFilter(fd: number, program: Buffer): string | undefined {
  // struct sock_fprog: how many there are u16, padding, their address u64.
  const header = Buffer.alloc(16);
  header.writeUInt16LE(program.length / 8);
  header.writeBigUInt64LE(addressOf(program), 8);
  return libc().setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, header, header.length) === 0 ? undefined : lastError();
}

/**
 * send(2), here and now, on a socket that knows where to.
 * @returns undefined where all of it was taken, else the error's name.
 */
export function sendNow(fd: number, data: Buffer): string | undefined {
  const sent = libc().send(fd, data, data.length, MSG_DONTWAIT);
  return sent < 0 ? lastError() : undefined;
}

/** getsockopt(2) into `length` bytes; undefined where the kernel refuses. */
export function socketOption(fd: number, level: number, option: number, length: number): Buffer | undefined {
  const value = Buffer.alloc(length);
  const filled = Uint32Array.of(length);
  if (libc().getsockopt(fd, level, option, value, filled) !== 0) return undefined;
  return value.subarray(0, Math.min(length, filled[0] ?? 0));
}

/**
 * Takes the lock on `path` (made if need be) and writes our pid into it. The lock ends with the process, however that
 * ends; the file stays. Throws TartanError PERMISSION where the file can't be opened.
 * @returns heldBy: the pid that the holder wrote, undefined where it has not yet.
 */
export function lockFile(path: string): { release(): void } | { heldBy: number | undefined } {
  const fd = openLock(path);
  if (libc().flock(fd, LOCK_EX | LOCK_NB) !== 0) {
    const errno = lastError();
    closeSync(fd);
    if (errno !== 'EAGAIN') throw new TartanError('PERMISSION', `cannot lock ${path}: ${errno}`, { data: { errno } });
    return { heldBy: pidIn(path) };
  }
  if (!isStillAt(path, fd)) {
    closeSync(fd);
    return lockFile(path);
  }
  ftruncateSync(fd, 0);
  writeSync(fd, `${process.pid}\n`, 0);
  return { release: once(() => closeSync(fd)) };
}

/** Whoever held the lock may have removed the file: a lock on that one would keep nobody out. */
function isStillAt(path: string, fd: number): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  return found !== undefined && found.ino === fstatSync(fd).ino;
}

function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (!done) action();
    done = true;
  };
}

/** Node opens every file with O_CLOEXEC: no child keeps the lock alive. */
function openLock(path: string): number {
  try {
    return openSync(path, 'a+', 0o644);
  } catch (cause) {
    throw new TartanError('PERMISSION', `cannot open the lock file ${path}`, { cause, data: { path } });
  }
}

function pidIn(path: string): number | undefined {
  const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
  return pid > 0 ? pid : undefined;
}

/**
 * Sends `message` (`READY=1`) to systemd's notification socket, sd_notify(3). `socketPath` is the value of
 * NOTIFY_SOCKET: a path, or `@name` in the abstract namespace. Never waits.
 * @returns whether it was sent.
 */
export function notifySystemd(message: string, socketPath: string): boolean {
  const address = unixAddress(socketPath);
  if (address === undefined) return false;
  const fd = libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const data = Buffer.from(message);
  const sent = libc().sendto(fd, data, data.length, MSG_NOSIGNAL | MSG_DONTWAIT, address, address.length);
  closeSync(fd);
  return sent === data.length;
}

/** _exit(2): unlike process.exit it does not wait for Node's threads, one of which may hang in a file system. */
export function exitAtOnce(status: number): void {
  libc()._exit(status);
}

/** struct sockaddr_un. An abstract name starts with a zero byte, and each byte of the length counts. */
function unixAddress(path: string): Buffer | undefined {
  const name = Buffer.from(path);
  const isAbstract = path.startsWith('@');
  if (!(isAbstract || path.startsWith('/')) || name.length >= UNIX_PATH_BYTES) return undefined;
  if (isAbstract) name[0] = 0;
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat(isAbstract ? [family, name] : [family, name, Buffer.alloc(1)]);
}

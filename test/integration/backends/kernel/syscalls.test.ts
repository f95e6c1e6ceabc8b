import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { lockFile, notifySystemd, setSocketOption, socketOption } from '../../../../backends/kernel/syscalls.ts';

const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
const libc = koffi.load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const void *address, uint32_t length)');
const recv = libc.func('intptr_t recv(int fd, void *data, size_t length, int flags)');

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;

function directory(): string {
  return mkdtempSync(join(tmpdir(), 'tk-'));
}

/** Tries the lock in a process of its own and prints what it got. */
function tryElsewhere(path: string): unknown {
  const module = new URL('../../../../backends/kernel/syscalls.js', import.meta.url).href;
  const script = `import(${JSON.stringify(module)}).then(({ lockFile }) => {
    const lock = lockFile(${JSON.stringify(path)});
    console.log(JSON.stringify('release' in lock ? { pid: process.pid } : lock));
  })`;
  return JSON.parse(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }));
}

/** Whether the other process got the lock. */
function isHeld(answer: unknown): boolean {
  return typeof answer === 'object' && answer !== null && 'pid' in answer;
}

test('a lock keeps others out, says who holds it, and can be had again once released', (t) => {
  const path = join(directory(), 'lock');
  const lock = lockFile(path);
  if (!('release' in lock)) return t.fail();
  t.is(readFileSync(path, 'utf8'), `${process.pid}\n`);
  t.deepEqual(tryElsewhere(path), { heldBy: process.pid });
  t.deepEqual(lockFile(path), { heldBy: process.pid });
  lock.release();
  lock.release();
  t.true(isHeld(tryElsewhere(path)));
  t.not(readFileSync(path, 'utf8'), `${process.pid}\n`);
  rmSync(path);
});

test('a lock ends with the process that held it, its file stays', (t) => {
  const path = join(directory(), 'lock');
  t.true(isHeld(tryElsewhere(path)));
  const lock = lockFile(path);
  t.true('release' in lock);
  if ('release' in lock) lock.release();
});

test('a holder that has not written its pid yet is unknown', (t) => {
  const path = join(directory(), 'lock');
  const lock = lockFile(path);
  writeFileSync(path, '');
  t.deepEqual(lockFile(path), { heldBy: undefined });
  if ('release' in lock) lock.release();
});

test('a lock where no file can be is refused with its code', (t) => {
  t.throws(() => lockFile('/nowhere/at/all'), { code: 'PERMISSION' });
});

function listenOn(name: Buffer): number {
  const fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), name]);
  if (bind(fd, address, address.length) !== 0) throw new Error(`bind: ${koffi.errno()}`);
  return fd;
}

function received(fd: number): string {
  const data = Buffer.alloc(100);
  const length = Number(recv(fd, data, data.length, MSG_DONTWAIT));
  closeSync(fd);
  return data.toString('utf8', 0, Math.max(0, length));
}

test('systemd hears us on a path and on an abstract name', (t) => {
  const path = join(directory(), 'notify');
  const named = listenOn(Buffer.from(`${path}\0`));
  t.true(notifySystemd('READY=1', path));
  t.is(received(named), 'READY=1');
  const abstract = `tk-notify-${process.pid}`;
  const unnamed = listenOn(Buffer.from(`\0${abstract}`));
  t.true(notifySystemd('STATUS=ü', `@${abstract}`));
  t.is(received(unnamed), 'STATUS=ü');
});

test('nobody there, or no address at all, is no error', (t) => {
  t.false(notifySystemd('READY=1', '/nowhere/at/all'));
  t.false(notifySystemd('READY=1', 'relative'));
  t.false(notifySystemd('READY=1', ''));
  t.false(notifySystemd('READY=1', `/${'x'.repeat(200)}`));
});

test('socket options are set, read, and refused by name', (t) => {
  const fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  t.is(setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, 20000), undefined);
  t.is(socketOption(fd, SOL_SOCKET, SO_RCVBUF, 4)?.readInt32LE(0), 40000);
  t.is(setSocketOption(fd, SOL_SOCKET, 9999, 1), 'ENOPROTOOPT');
  closeSync(fd);
  t.is(setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, 1), 'EBADF');
  t.is(socketOption(fd, SOL_SOCKET, SO_RCVBUF, 4), undefined);
});

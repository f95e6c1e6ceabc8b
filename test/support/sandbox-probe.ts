/**
 * Stands in for the agent where only its unit is under test: tries what the agent needs of the kernel, writes what it
 * found and Docker's options below /run/flannel, and tells systemd that it is ready. /etc/probe-exit: end with that.
 */
import { existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import koffi from 'koffi';

const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int family, int type, int protocol)');
const setsockopt = libc.func('int setsockopt(int fd, int level, int name, void *value, uint32_t length)');
const sendto = libc.func('long sendto(int fd, void *data, size_t length, int flags, void *address, uint32_t size)');

const ioctl = libc.func('int ioctl(int fd, unsigned long request, void *argument)');
const eventfd = libc.func('int eventfd(unsigned int value, int flags)');
const sendmmsg = libc.func('int sendmmsg(int fd, void *messages, unsigned int count, int flags)');
const recvmmsg = libc.func('int recvmmsg(int fd, void *messages, unsigned int count, int flags, void *timeout)');

const found: Record<string, string> = {};

function attempt(name: string, action: () => unknown): void {
  try {
    found[name] = String(action() ?? 'allowed');
  } catch (error: unknown) {
    found[name] = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

/** A C function that calls back into JavaScript: needs memory that is written and then executed. */
function sortedByCallback(): string {
  const compare = koffi.proto('int Compare(const void *a, const void *b)');
  const qsort = libc.func('qsort', 'void', [koffi.inout('int *'), 'size_t', 'size_t', koffi.pointer(compare)]);
  const numbers = [3, 1, 2];
  qsort(numbers, 3, 4, (a: unknown, b: unknown) => koffi.decode(a, 'int') - koffi.decode(b, 'int'));
  return numbers.join();
}

function forcedReceiveBuffer(): number {
  const size = Buffer.alloc(4);
  size.writeInt32LE(8 << 20);
  return setsockopt(socket(16, 3, 0), SOL_SOCKET, SO_RCVBUFFORCE, size, 4);
}

/** TUNSETIFF, as the data path in user space attaches to its device. */
function attachedDevice(): number {
  const request = Buffer.alloc(40);
  request.write('probe0');
  request.writeUInt16LE(0x5001, 16);
  return ioctl(openSync('/dev/net/tun', 'r+'), 0x400454ca, request);
}

/** With none of them: only whether it may be asked. */
function manyMessages(): boolean {
  const fd = socket(2, 2, 0);
  return sendmmsg(fd, null, 0, 0x40) === 0 && recvmmsg(fd, null, 0, 0x40, null) === 0;
}

function notify(message: string): void {
  const path = process.env['NOTIFY_SOCKET'] ?? '';
  const address = Buffer.from(`\x01\0${path.replace(/^@/, '\0')}`);
  const data = Buffer.from(message);
  sendto(socket(1, 2, 0), data, data.length, 0, address, address.length);
}

attempt('callback', sortedByCallback);
attempt('forced receive buffer', forcedReceiveBuffer);
attempt('raw socket', () => socket(2, 3, 1) >= 0);
attempt('packet socket', () => socket(17, 3, 0) >= 0);
attempt('ip_forward', () => writeFileSync('/proc/sys/net/ipv4/ip_forward', '1'));
attempt('kernel sysctl', () => writeFileSync('/proc/sys/kernel/domainname', 'x'));
attempt('/run/flannel', () => writeFileSync('/run/flannel/probe', ''));
attempt('/var/lib/tartan', () => writeFileSync('/var/lib/tartan/probe', ''));
attempt('/var/lib', () => writeFileSync('/var/lib/probe', ''));
attempt('/etc', () => writeFileSync('/etc/probe', ''));
attempt('/etc/machine-id', () => readFileSync('/etc/machine-id', 'utf8').length);
attempt('/proc/net/netlink', () => readFileSync('/proc/net/netlink', 'utf8').length > 0);
attempt('doorbell', () => eventfd(0, 0) >= 0);
attempt('many messages', manyMessages);
attempt('thread', () => new Worker('', { eval: true }).threadId > 0);
if (existsSync('/dev/net/tun')) attempt('/dev/net/tun', attachedDevice);

if (existsSync('/etc/probe-exit')) process.exit(Number(readFileSync('/etc/probe-exit', 'utf8')));
writeFileSync('/run/flannel/found.json', JSON.stringify(found));
writeFileSync('/run/flannel/docker', 'DOCKER_NETWORK_OPTIONS=" --bip=10.5.17.1/24 --ip-masq=true --mtu=1450"\n');
notify(`READY=1\nSTATUS=${process.argv.slice(2).join(' ')}`);
setInterval(() => notify('WATCHDOG=1'), 5000);
process.on('SIGTERM', () => process.exit(0));

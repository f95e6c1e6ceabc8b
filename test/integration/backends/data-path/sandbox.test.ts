import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import test from 'ava';
import { eventually } from '../../../support/eventually.ts';
import { FarSide } from '../../../support/far-side.ts';
import { enterFreshNamespace, run } from '../../../support/netns.ts';
import { farSide, makePathDevice, NEAR, peerOf, ping, settingsOf, startPath } from './pair.ts';

enterFreshNamespace();
const far = await FarSide.connect();

/** recvmmsg, sendmmsg; asm/unistd.h */
const CALLS: Readonly<Record<string, readonly [number, number]>> = { x64: [299, 307], arm64: [243, 269] };
const EPERM = 1;
const ENOSYS = 38;

/** struct sock_filter each, for seccomp(2): those two calls fail with `errno`, all others are allowed. */
function filter([one, two]: readonly [number, number], errno: number): string {
  const program = Buffer.alloc(5 * 8);
  const rows = [
    [0x20, 0, 0, 0],
    [0x15, 1, 0, one],
    [0x15, 0, 1, two],
    [0x06, 0, 0, 0x00050000 | errno],
    [0x06, 0, 0, 0x7fff0000],
  ] as const;
  for (const [i, [code, yes, no, k]] of rows.entries()) {
    program.writeUInt16LE(code, 8 * i);
    program.writeUInt8(yes, 8 * i + 2);
    program.writeUInt8(no, 8 * i + 3);
    program.writeUInt32LE(k, 8 * i + 4);
  }
  return program.toString('hex');
}

/** A data path behind such a filter: prints its features as soon as its worker is there. */
function script(program: string): string {
  return `
    import { createRequire } from 'node:module';
    const koffi = createRequire('${import.meta.url}')('koffi');
    const prctl = koffi.load(null).func('int prctl(int what, unsigned long a, const void *b, unsigned long c, unsigned long d)');
    const program = Buffer.from('${program}', 'hex');
    const header = Buffer.alloc(16);
    header.writeUInt16LE(program.length / 8);
    header.writeBigUInt64LE(koffi.address(program), 8);
    if (prctl(38, 1, null, 0, 0) !== 0 || prctl(22, 2, header, 0, 0) !== 0) throw new Error('no seccomp: ' + koffi.errno());
    const { DataPath } = await import('${new URL('../../../../backends/data-path/data-path.js', import.meta.url)}');
    const { realClock } = await import('${new URL('../../../support/real-clock.js', import.meta.url)}');
    const { silentLog } = await import('${new URL('../../../../config/log.js', import.meta.url)}');
    const path = new DataPath({ log: silentLog, clock: realClock });
    path.configure(${JSON.stringify(settingsOf('udp', 1))});
    path.setPeers(new Map([['other', ${JSON.stringify(peerOf('udp', 2))}]]));
    while (path.state().core === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
    console.log(path.state().features.join());
    await path.run(new AbortController().signal);
  `;
}

const calls = CALLS[process.arch];
for (const [name, errno] of [
  ['EPERM', EPERM],
  ['ENOSYS', ENOSYS],
] as const) {
  test(`a sandbox that answers calls for many messages with ${name}: packets cross one by one`, async (t) => {
    if (calls === undefined) {
      t.pass(`system calls of ${process.arch} are not known here`);
      return;
    }
    makePathDevice('udp', NEAR);
    far.inside(() => startPath(t, 'udp', farSide(far)));
    const child = spawn(process.execPath, ['--input-type=module', '-e', script(filter(calls, errno))], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(async () => {
      child.kill('SIGKILL');
      await eventually('the device is let go', () => run('ip link delete flannel0') === '');
    });
    const lines: string[] = [];
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
    await eventually('a path', () => lines.length > 0);
    t.is(lines[0], 'wasm');
    await eventually('packets cross', () => / 0% packet loss/.test(ping('udp', '-W', '1')));
  });
}

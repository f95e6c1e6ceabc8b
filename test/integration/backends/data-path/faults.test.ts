import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import type { DataPath } from '../../../../backends/data-path/data-path.ts';
import { openTun } from '../../../../backends/kernel/tun.ts';
import type { Log } from '../../../../config/log.ts';
import { ip, prefix } from '../../../support/addresses.ts';
import { eventually } from '../../../support/eventually.ts';
import { FarSide } from '../../../support/far-side.ts';
import { enterFreshNamespace, run } from '../../../support/netns.ts';
import { searchPath } from '../../../support/process.ts';
import {
  addressOf,
  deviceOf,
  farSide,
  makePathDevice,
  NEAR,
  peerOf,
  ping,
  settingsOf,
  startPath,
  transfer,
  type Wire,
} from './pair.ts';

enterFreshNamespace();
const far = await FarSide.connect();
const FAR = farSide(far);

function pairOf(t: ExecutionContext, wire: Wire): { readonly near: DataPath; readonly remote: DataPath } {
  const near = startPath(t, wire, NEAR);
  return { near, remote: far.inside(() => startPath(t, wire, FAR)) };
}

/** Packets cross. */
function crosses(wire: Wire): boolean {
  return / 0% packet loss/.test(ping(wire, '-W', '1'));
}

function heals(what: string, wire: Wire): Promise<true> {
  return eventually(what, () => (crosses(wire) ? true : undefined));
}

/** A peer at which any worker dies: as a fault of ours would make it. */
function poison(path: DataPath, isThere: boolean): void {
  path.update([['poison', isThere ? JSON.parse('{"endpoint":null}') : undefined]]);
}

interface Stream {
  /** Milliseconds between two answers, at most; how many were lost. */
  stop(): Promise<{ readonly gapMs: number; readonly lost: number; readonly answers: number }>;
}

/** A ping every 10 ms. */
async function stream(wire: Wire): Promise<Stream> {
  const child = spawn('ping', ['-n', '-D', '-i', '0.01', addressOf(wire, 2)], { env: { PATH: searchPath() } });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
  await eventually('a first answer', () => text.includes('icmp_seq'));
  return {
    stop: async () => {
      const closed = once(child, 'close');
      child.kill('SIGINT');
      await closed;
      const answers = [...text.matchAll(/^\[([\d.]+)\] .*icmp_seq=/gm)].map(([, at]) => Number(at) * 1000);
      const gaps = answers.slice(1).map((at, i) => at - (answers[i] ?? at));
      const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(text) ?? [];
      return { gapMs: Math.max(...gaps), lost: Number(sent) - Number(received), answers: answers.length };
    },
  };
}

for (const wire of ['udp', 'vxlan'] as const) {
  test(`${wire}: a worker that dies is followed by another, and hardly a packet is lost`, async (t) => {
    const { near } = pairOf(t, wire);
    const pings = await stream(wire);
    poison(near, true);
    poison(near, false);
    await eventually('another worker', () => near.state().restarts === 1 && near.state().isUp);
    t.true(crosses(wire));
    const { gapMs, lost, answers } = await pings.stop();
    t.log(`longest gap ${gapMs.toFixed(0)} ms, ${lost} lost, ${answers} answered`);
    t.true(lost < answers, `${lost} lost`);
    t.is(near.problem(), undefined);
  });

  test(`${wire}: a device that is deleted and made again is taken again, under traffic`, async (t) => {
    const { near } = pairOf(t, wire);
    const moving = transfer(far, wire, 60_000_000, true);
    for (let i = 0; i < 3; i++) {
      const before = near.state().counters['rx-bytes'] ?? 0;
      await eventually('traffic', () => (near.state().counters['rx-bytes'] ?? 0) > before);
      run(`ip link delete ${deviceOf(wire)}`);
      makePathDevice(wire, NEAR);
    }
    const { sent, received } = await moving;
    t.is(sent, received);
    t.is(near.state().restarts, 0);
  });
}

for (const without of [[], ['batches']] as const) {
  const title = without.length === 0 ? 'batches' : 'packets one by one';

  test(`${title}: until the peers are known packets wait, those for them and those of them`, async (t) => {
    const near = startPath(t, 'udp', NEAR, { without, isLonely: true });
    const remote = far.inside(() => startPath(t, 'udp', FAR));
    await eventually('both are up', () => near.state().isUp && remote.state().isUp);
    const pings = spawn('ping', ['-n', '-c', '5', '-i', '0.05', '-W', '10', addressOf('udp', 2)], {
      env: { PATH: searchPath() },
    });
    let text = '';
    pings.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
    const ended = once(pings, 'close');
    const sent = far.exec('ping', ['-n', '-c', '5', '-i', '0.05', '-W', '10', addressOf('udp', 1)]);
    await eventually('those of the other one came', () => (remote.state().counters['tx-packets'] ?? 0) >= 5);
    near.update([['other', peerOf('udp', 2)]]);
    t.deepEqual([near.state().counters['rx-packets'], near.state().counters['tx-packets']], [0, 0]);
    near.setPeers(new Map([['other', peerOf('udp', 2)]]));
    await ended;
    t.regex(text, /5 received, 0% packet loss/);
    t.regex(await sent, /5 received, 0% packet loss/);
    t.deepEqual(near.state().strangers, []);
  });
}

test('a worker that follows another has all peers before it moves a packet', async (t) => {
  const { near } = pairOf(t, 'udp');
  const { sources, subnets, ...rest } = peerOf('udp', 2);
  const crowd = Array.from({ length: 3000 }, (_, i) => {
    const one = `10.98.${i >> 8}.${i & 255}`;
    return [`peer ${i}`, { ...rest, sources: [ip(one)], subnets: [prefix(`${one}/32`)] }] as const;
  });
  // The one that lives is told last.
  near.setPeers(new Map([...crowd, ['other', { ...rest, sources, subnets }]]));
  await heals('packets cross', 'udp');
  const pings = await stream('udp');
  for (let deaths = 1; deaths <= 2; deaths++) {
    poison(near, true);
    poison(near, false);
    await eventually('another worker', () => near.state().restarts === deaths && near.state().isUp);
    await heals('packets cross again', 'udp');
  }
  const { lost, answers } = await pings.stop();
  t.log(`${lost} lost, ${answers} answered`);
  t.deepEqual(near.state().strangers, []);
  t.falsy(near.state().counters['rx-stranger']);
});

test('a datagram of our own that the kernel does not take comes back with the reason', async (t) => {
  const { near } = pairOf(t, 'udp');
  t.is(near.send(Buffer.alloc(8), ip('192.0.2.2')), undefined);
  t.is(near.send(Buffer.alloc(8), ip('203.0.113.1')), 'ENETUNREACH');
});

test('a worker that dies again and again is started ever later, and said so', async (t) => {
  const { near } = pairOf(t, 'udp');
  poison(near, true);
  const problem = await eventually('somebody says so', () => near.problem());
  t.regex(problem, /^the worker died \d+ times: .*; it is started again, report it$/);
  poison(near, false);
  await heals('without what it died of it lives', 'udp');
  t.true(near.state().restarts >= 3);
});

test('a device that got another name is left for the one that has the name', async (t) => {
  const { near } = pairOf(t, 'udp');
  t.true(crosses('udp'));
  run('ip link set flannel0 name old0');
  t.teardown(() => run('ip link delete old0'));
  run('ip route flush dev old0 && ip addr flush dev old0');
  await eventually('it is missed', () => near.problem()?.includes('no flannel0'));
  makePathDevice('udp', NEAR);
  await heals('packets cross again', 'udp');
  t.is(near.problem(), undefined);
});

test('a port that is taken is named, and taken as soon as it is free', async (t) => {
  const holder = createSocket('udp4');
  holder.bind(8285, '192.0.2.1');
  await once(holder, 'listening');
  const { near } = pairOf(t, 'udp');
  const problem = near.problem() ?? '';
  const { isUp } = near.state();
  holder.close();
  t.regex(problem, /^UDP port 8285 of 192\.0\.2\.1 is taken, by another process or a vxlan device: /);
  t.false(isUp);
  await heals('packets cross', 'udp');
  t.is(near.problem(), undefined);
});

test('a device that is held is named, and taken as soon as it is free', async (t) => {
  makePathDevice('udp', NEAR);
  const held = openTun('flannel0', 3, false);
  if ('errno' in held) throw new Error(held.errno);
  run('ip link set flannel0 down');
  run('ip addr flush dev flannel0');
  const said: string[] = [];
  const log: Log = { debug() {}, info: (text) => said.push(text), warn: (text) => said.push(text), error() {} };
  const near = startPath(t, 'udp', NEAR, { log, isMade: true });
  far.inside(() => startPath(t, 'udp', FAR));
  t.is(near.problem(), 'flannel0 is held by another process: stop it');
  closeSync(held.fd);
  run('ip link set flannel0 up && ip addr add 10.99.1.0/32 dev flannel0 && ip route add 10.99.2.0/24 dev flannel0');
  await heals('packets cross', 'udp');
  t.is(near.problem(), undefined);
  const problems = said.filter((text) => text.startsWith('data path'));
  t.deepEqual(problems, ['data path has a problem', 'data path is up']);
});

test('another outer address and another port: the old ones serve until the new ones are there', async (t) => {
  const { near, remote } = pairOf(t, 'udp');
  const moved = { ...settingsOf('udp', 1), local: ip('192.0.2.101') };
  near.configure(moved);
  t.is(near.problem(), "192.0.2.101 is no address of this host: UDP port 8285 can't be opened");
  t.true(crosses('udp'), 'by the old address');
  run('ip addr add 192.0.2.101/24 dev eth0');
  t.teardown(() => run('ip addr delete 192.0.2.101/24 dev eth0'));
  const peer = { ...peerOf('udp', 1), endpoint: ip('192.0.2.101'), sources: [ip('192.0.2.101')] };
  await eventually('the new address', () => near.problem() === undefined);
  remote.update([['other', peer]]);
  await heals('by the new address', 'udp');
  near.configure({ ...moved, port: 9000 });
  far.inside(() => remote.configure({ ...settingsOf('udp', 2), port: 9000 }));
  await heals('by the new port', 'udp');
  t.deepEqual([near.problem(), remote.problem()], [undefined, undefined]);
});

test('a process ends though its worker waits in the kernel', async (t) => {
  const script = `
    import { DataPath } from '${new URL('../../../../backends/data-path/data-path.js', import.meta.url)}';
    import { realClock } from '${new URL('../../../support/real-clock.js', import.meta.url)}';
    import { silentLog } from '${new URL('../../../../config/log.js', import.meta.url)}';
    const path = new DataPath({ log: silentLog, clock: realClock });
    path.configure(${JSON.stringify(settingsOf('udp', 1))});
    for (;;) {
      if (path.state().core !== undefined) process.exit(7);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' });
  const [status] = await once(child, 'exit');
  t.is(status, 7);
});

/** The harness itself: isolation from the machine, and nothing left behind. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { eventually } from '../../support/eventually.ts';
import { createLab } from '../../support/hosts.ts';
import type { Outcome } from '../../support/process.ts';
import { needs } from '../../support/require.ts';

const HOSTS = new URL('../../support/hosts.js', import.meta.url);

function machine(): string {
  return execFileSync('ip', ['-o', 'link'], { encoding: 'utf8' }) + execFileSync('ip', ['route'], { encoding: 'utf8' });
}

test('hosts reach each other and etcd, and the machine notices nothing', async (t) => {
  if (!needs(t, 'lab')) return;
  const before = machine();
  const lab = await createLab({ hosts: 3, mtu: 1400, ipv6: true });
  t.teardown(() => lab.destroy());
  t.true((await lab.host(1).ping(lab.host(3).ip, { packetBytes: 1400 })).ok);
  t.true((await lab.host(2).ping('fd77::b')).ok);
  await lab.etcd.put('/a', 'b');
  t.is(await lab.host(2).run('etcdctl', ['get', '/a', '--print-value-only'], ctl(lab.etcd.endpoint)), 'b\n');
  t.is(machine(), before);
});

function ctl(endpoint: string): { env: Record<string, string> } {
  return { env: { ETCDCTL_API: '3', ETCDCTL_ENDPOINTS: endpoint } };
}

test('each host has its own files, machine-id and name', async (t) => {
  if (!needs(t, 'lab')) return;
  const lab = await createLab({ etcd: false });
  t.teardown(() => lab.destroy());
  const machineId = readFileSync('/etc/machine-id', 'utf8');
  const [first, second] = [lab.host(1), lab.host(2)];
  await first.run('sh', ['-c', 'mkdir -p /var/lib/tartan /run/flannel; touch /var/lib/tartan/x /run/flannel/x']);
  t.is((await second.exec('sh', ['-c', 'ls /var/lib/tartan/x || ls /run/flannel/x'])).stdout, '');
  t.is(await first.run('hostname'), 'host1\n');
  const ids = [await first.read('/etc/machine-id'), await second.read('/etc/machine-id'), machineId];
  t.is(new Set(ids).size, 3);
  t.is(await first.read('/run/flannel/x'), '');
  t.deepEqual((await first.run('ls', ['/sys/class/net'])).trim().split('\n'), ['eth0', 'lo']);
});

test('two labs with the same addresses run side by side', async (t) => {
  if (!needs(t, 'lab')) return;
  const labs = await Promise.all([createLab({ hosts: 1 }), createLab({ hosts: 1 })]);
  t.teardown(() => labs.map((lab) => lab.destroy()));
  const [one, other] = labs;
  await one.etcd.put('/only', 'here');
  t.deepEqual(await other.etcd.list('/'), []);
});

test('a host can lose its cable, its power, and share an address', async (t) => {
  if (!needs(t, 'lab')) return;
  const lab = await createLab({ etcd: false });
  t.teardown(() => lab.destroy());
  await lab.host(2).unplug();
  t.false((await lab.host(1).ping(lab.host(2).ip, { waitSeconds: 1 })).ok);
  await lab.host(2).plug();
  await eventually('the cable is back', async () => (await lab.host(1).ping(lab.host(2).ip)).ok);
  const clone = await lab.addHost({
    address: 12,
    machineId: (await lab.host(2).read('/etc/machine-id'))?.trim() ?? '',
  });
  t.is(clone.ip, lab.host(2).ip);
  await lab.host(2).kill();
  await clone.exec('ping', ['-c', '1', '-W', '1', lab.host(1).ip]);
  await eventually('the clone answers', async () => (await lab.host(1).ping(clone.ip)).ok);
});

test('etcd can hang, stop, come back and lose its data', async (t) => {
  if (!needs(t, 'lab')) return;
  const { etcd, destroy } = await createLab({ hosts: 0 }).then((lab) => ({
    etcd: lab.etcd,
    destroy: () => lab.destroy(),
  }));
  t.teardown(destroy);
  await etcd.put('/k', 'v');
  etcd.freeze();
  await t.throwsAsync(etcd.ctl(['--command-timeout=500ms', 'get', '/k']));
  etcd.thaw();
  await etcd.stop();
  await etcd.start();
  t.deepEqual(
    (await etcd.list('/')).map(({ key, value, lease }) => [key, value, lease]),
    [['/k', 'v', '0']],
  );
  await etcd.wipe();
  await etcd.start();
  t.deepEqual(await etcd.list('/'), []);
});

test('an etcd of three members with TLS loses some, changes its leader, goes back, and gets new certificates', async (t) => {
  if (!needs(t, 'lab')) return;
  const lab = await createLab({ hosts: 1, etcd: { members: 3, tls: true } });
  t.teardown(() => lab.destroy());
  const { etcd } = lab;
  const values = async (): Promise<readonly string[]> => (await etcd.list('/')).map(({ value }) => value);
  const health = (): Promise<Outcome> =>
    lab.host(1).exec('etcdctl', ['endpoint', 'health'], { env: { ...etcd.member(1).env } });
  t.is((await health()).status, 0);
  t.deepEqual(
    etcd.flags.map((flag) => flag.split('=')[0]),
    ['--etcd-endpoints', '--etcd-cafile', '--etcd-certfile', '--etcd-keyfile'],
  );
  await etcd.put('/k', '1');
  const snapshot = await etcd.snapshot();

  await etcd.member(3).stop();
  // It may have been the leader.
  await eventually('the others have a leader', () => etcd.put('/k', '2').then(() => true));
  await etcd.member(2).unplug();
  await t.throwsAsync(etcd.ctl(['--command-timeout=2s', 'put', '/k', '3']));
  await etcd.member(2).plug();
  await etcd.member(3).start();
  const heir = await etcd.moveLeader();
  t.is(await etcd.leader(), heir);

  await etcd.restore(snapshot);
  t.deepEqual(await values(), ['1']);
  await etcd.wipe();
  await etcd.start();
  t.deepEqual(await values(), []);

  await lab.rotatePki({ hosts: false });
  await etcd.stop();
  await etcd.start();
  t.not((await health()).status, 0);
  await lab.rotatePki({ hosts: true });
  await etcd.stop();
  await etcd.start();
  t.is((await health()).status, 0);
});

/** Another process that makes a lab, prints its processes and waits. */
async function owner(): Promise<{ kill: (signal: NodeJS.Signals) => Promise<void>; pids: number[] }> {
  const script = `import { createLab } from '${fileURLToPath(HOSTS)}';
    const lab = await createLab({ hosts: 1 });
    const stray = lab.host(1).spawn('sh', ['-c', 'setsid sleep 1000 & echo $!; wait']);
    const pid = await stray.until(/^[0-9]+$/);
    console.log(JSON.stringify([lab.switch.pid, lab.host(1).pid, stray.pid, lab.etcd.process.pid, Number(pid)]));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  const kill = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await once(child, 'exit');
  };
  return { kill, pids: JSON.parse(String(line)) };
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} to its owner ends a lab`, async (t) => {
    if (!needs(t, 'lab')) return;
    const { kill, pids } = await owner();
    t.true(pids.every(isAlive));
    await kill(signal);
    // What was killed is dead when the kernel has got round to it.
    await eventually('all of it is gone', () => !pids.some(isAlive));
    t.pass();
  });
}

test('kill -9 of its owner ends a lab; what escaped is swept by the next one', async (t) => {
  if (!needs(t, 'lab')) return;
  const { kill, pids } = await owner();
  await kill('SIGKILL');
  await eventually('all but the stray are gone', () => pids.slice(0, 4).every((pid) => !isAlive(pid)));
  const lab = await createLab({ hosts: 0, etcd: false });
  t.teardown(() => lab.destroy());
  t.deepEqual(pids.filter(isAlive), []);
});

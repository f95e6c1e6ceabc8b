/** More than one agent on a host. */
import test from 'ava';
import { readStatus } from '../../../agent/status-socket.ts';
import { eventually } from '../../support/eventually.ts';
import { SUBNET_ENV, scenesOn } from './scene.ts';

const scenes = scenesOn();

test('a second agent for the same network: told the pid of the first, which goes on', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const first = await scene.ready(host);
  const leases = await scene.leases();
  const second = scene.start(host);
  t.is((await second.exited).status, 11);
  t.regex(second.lines.join('\n'), new RegExp(`pid ${first.pid} already works on /var/lib/tartan${scene.prefix}`));
  t.true((await scene.status(host, first)).ready);
  t.deepEqual(await scene.leases(), leases);
});

test('a second network with the same files: refused before it overwrites them', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const first = await scene.ready(host);
  const before = await host.read(SUBNET_ENV);
  const second = scene.start(host, ['--etcd-prefix=/other']);
  t.is((await second.exited).status, 11);
  t.regex(second.lines.join('\n'), new RegExp(`pid ${first.pid} .*--subnet-file`));
  t.is(await host.read(SUBNET_ENV), before);
  t.true((await scene.status(host, first)).ready);
});

test('two networks side by side, each with its prefix and files; taking one down leaves the other', async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const other = `${scene.prefix}-2`;
  await scene.lab.etcd.put(`${other}/config`, '{"Network":"10.6.0.0/16","Backend":{"Type":"vxlan","VNI":2}}');
  const flags = [
    `--etcd-prefix=${other}`,
    '--subnet-file=/run/second/subnet.env',
    '--docker-opts-file=/run/second/docker',
  ];
  const pairs = await Promise.all(
    scene.hosts.map(async (host) => ({ host, one: await scene.ready(host), two: scene.start(host, flags) })),
  );
  for (const { host, one, two } of pairs) {
    await eventually(
      `both agents of ${host.name} are in step with their peer`,
      async () => {
        const second = await readStatus(host.path('/run/second/subnet.sock'));
        return second.ready && second.inStep && second.peers.length === 1;
      },
      { context: () => two.tail() },
    );
    await scene.status(host, one, ({ inStep, peers }) => inStep && peers.length === 1);
  }
  const host = scene.host(1);
  const routes = await host.run('ip', ['route']);
  t.regex(routes, /10\.5\.\d+\.0\/24 .*dev flannel\.1 /);
  t.regex(routes, /10\.6\.\d+\.0\/24 .*dev flannel\.2 /);
  t.regex((await host.read('/run/second/subnet.env')) ?? '', /FLANNEL_SUBNET=10\.6\./);
  const [first] = pairs;
  await first?.two.stop();
  const down = await scene.run(host, ['down'], {
    env: { TARTAN_ETCD_PREFIX: other, TARTAN_SUBNET_FILE: '/run/second/subnet.env' },
  });
  t.is(down.status, 0, down.stderr);
  const left = await host.run('ip', ['route']);
  t.notRegex(left, /10\.6\./);
  t.is(/^10\.5\..*/m.exec(left)?.[0], /^10\.5\..*/m.exec(routes)?.[0]);
  t.truthy(await host.read(SUBNET_ENV));
});

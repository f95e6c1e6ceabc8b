/** The command line as a shell sees it. */
import test from 'ava';
import { TARTAN } from '../../support/agent.ts';
import { execute, type Outcome } from '../../support/process.ts';
import { scenesOn } from './scene.ts';

const scenes = scenesOn();

function tartan(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  const [node, ...main] = TARTAN;
  return execute([node, ...main, ...args], { env });
}

test('every problem is told at once, each with its option, and nothing is begun', async (t) => {
  const flags = [
    '--etcd-endpoint=http://a',
    '--lease-ttl=soon',
    '--public-ip=fd00::1',
    '--ip-blackhole-route',
    '--kube-subnet-mgr',
  ];
  const { status, stderr, stdout } = await tartan(['run', ...flags], { FLANNELD_HEALTHZ_PORT: '99999' });
  t.is(status, 2);
  t.is(stdout, '');
  const named = [
    '--etcd-endpoint.*--etcd-endpoints',
    'lease-ttl',
    'public-ip',
    'ip-blackhole-route',
    'kube-subnet-mgr',
    'HEALTHZ_PORT',
  ];
  for (const one of named) t.regex(stderr, new RegExp(one));
});

test('version and help, on stdout, exit 0', async (t) => {
  for (const args of [['--version'], ['version']]) {
    const { status, stdout } = await tartan(args);
    t.is(status, 0);
    t.regex(stdout, /^\d+\.\d+\.\d+\S*\n$/);
  }
  for (const args of [['help'], ['--help'], ['-h'], ['help', 'config', 'set'], ['down', '--help']]) {
    const { status, stdout, stderr } = await tartan(args);
    t.is(status, 0);
    t.is(stderr, '');
    t.regex(stdout, /tartan/);
  }
});

test('an unknown command is told with the nearest one', async (t) => {
  const { status, stderr } = await tartan(['statsu']);
  t.is(status, 2);
  t.regex(stderr, /statsu.*status/);
});

test("klog's flags and unknown variables warn, and the agent runs", async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const flags = ['-v=10', '--logtostderr'];
  const agent = scene.start(scene.host(1), flags, { FLANNELD_V: '2', FLANNELD_SUBNET_FIEL: '/x' });
  await scene.isReady(scene.host(1), agent);
  const warnings = agent.lines.filter((line) => / warn .*an option is not/.test(line));
  for (const named of ['-v', 'logtostderr', 'FLANNELD_V', 'FLANNELD_SUBNET_FIEL']) {
    t.true(
      warnings.some((line) => line.includes(named)),
      named,
    );
  }
});

test("flannel's own variables configure it", async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const agent = scene.start(host, [], { FLANNELD_PUBLIC_IP: '203.0.113.5', FLANNELD_SUBNET_LEASE_RENEW_MARGIN: '30' });
  await scene.isReady(host, agent);
  t.regex((await scene.lease('203.0.113.5')).value, /"Tartan"/);
});

test('a password shows nowhere: not in the log at its most talkative, the status or an error, right or wrong', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  const secret = 'pa55-w0rd/that=nobody&sees';
  const { etcd } = scene.lab;
  const root = ['--user=root:rootpw'];
  for (const one of ['user add root:rootpw', 'user grant-role root root', `user add tartan:${secret}`, 'auth enable']) {
    await etcd.ctl(one.split(' '));
  }
  t.teardown(() => etcd.ctl([...root, 'auth', 'disable']));
  const seen: string[] = [];
  const debug = ['--log-level=debug', '--etcd-username=tartan'];
  const ways: readonly [readonly string[], Readonly<Record<string, string>>][] = [
    [[...debug, `--etcd-password=${secret}`], {}],
    [debug, { FLANNELD_ETCD_PASSWORD: secret }],
    [[...debug, `--etcd-password=${secret}-wrong`], {}],
    [[...debug], { TARTAN_ETCD_PASSWORD: `${secret}-wrong` }],
  ];
  for (const [flags, env] of ways) {
    const agent = scene.start(host, flags, env);
    // Right: refused for its permissions; wrong: for its password. Neither gets in.
    const status = await scene.status(host, agent, ({ problems }) => problems.some((one) => one.includes('refused')));
    seen.push(...agent.lines, JSON.stringify(status));
    await agent.stop();
    seen.push(...agent.lines);
  }
  const wrong = { TARTAN_ETCD_USERNAME: 'tartan', TARTAN_ETCD_PASSWORD: `${secret}-wrong` };
  const failed = await scene.run(host, ['leases'], { env: wrong });
  t.is(failed.status, 6);
  t.regex(failed.stderr, /wrong user name or password/);
  seen.push(failed.stderr, failed.stdout);
  const bad = await tartan([
    'run',
    `--etcd-password=${secret}`,
    '--resync=x',
    `--etcd-endpoints=http://u:${secret}@a:1`,
  ]);
  t.is(bad.status, 2);
  seen.push(bad.stderr);
  for (const line of seen) t.false(line.includes(secret), line);
  t.true(seen.some((line) => line.includes('***')));
});

import { readFileSync } from 'node:fs';
import test from 'ava';
import { runDockerOpts } from '../../../../agent/commands/docker-opts.ts';
import { type Engine, NO_ENGINE } from '../../../../agent/docker/engine.ts';
import { parseCommandLine } from '../../../../config/command-line.ts';

const SUBNET_ENV = readFileSync('test/golden/docker-opts/subnet.env', 'utf8');
const EXPECTED = readFileSync('test/golden/docker-opts/none.env', 'utf8');

/** Runs the command over files held in a map. */
async function run(argv: readonly string[], files: ReadonlyMap<string, string>, engine: Engine = NO_ENGINE) {
  const parsed = parseCommandLine(['docker', 'opts', ...argv], {});
  if (!parsed.ok) throw new TypeError(parsed.problems.join('; '));
  const written = new Map<string, string>();
  const said = { stdout: '', stderr: '' };
  const status = await runDockerOpts(parsed.invocation, {
    readFile: (path) => Promise.resolve(files.get(path)),
    writeFile: (path, text) => Promise.resolve(void written.set(path, text)),
    env: {},
    survey: () => Promise.resolve(engine),
    stdout: (text) => {
      said.stdout += text;
    },
    stderr: (text) => {
      said.stderr += text;
    },
  });
  return { status, written, ...said };
}

test('it reads the subnet file and writes the options file', async (t) => {
  const { status, written, stdout, stderr } = await run([], new Map([['/run/flannel/subnet.env', SUBNET_ENV]]));
  t.deepEqual([status, stdout, stderr], [0, '', '']);
  t.deepEqual([...written], [['/run/docker_opts.env', EXPECTED]]);
});

test('its files are chosen by -f and -d', async (t) => {
  const { written } = await run(['-f', '/in', '-d/out'], new Map([['/in', SUBNET_ENV]]));
  t.deepEqual([...written], [['/out', EXPECTED]]);
});

test('it writes to standard output for -', async (t) => {
  const { written, stdout } = await run(['-f', '/in', '-d', '-'], new Map([['/in', SUBNET_ENV]]));
  t.is(written.size, 0);
  t.is(stdout, EXPECTED);
});

test('a subnet file that makes no sense is left alone, and so is the options file', async (t) => {
  const { status, written, stderr } = await run(['-f', '/in'], new Map([['/in', 'FLANNEL_IPMASQ=maybe\n']]));
  t.is(status, 1);
  t.is(written.size, 0);
  t.not(stderr, '');
});

test('any other invocation is refused', async (t) => {
  const parsed = parseCommandLine([], {});
  if (!parsed.ok) throw new TypeError('the defaults are refused');
  const io = {
    readFile: async () => undefined,
    writeFile: async () => {},
    env: {},
    survey: async () => NO_ENGINE,
    stdout() {},
    stderr() {},
  };
  await t.throwsAsync(runDockerOpts(parsed.invocation, io), { instanceOf: TypeError });
});

const AS_JSON = ['--format', 'daemon.json', '-f', '/in'];
const IN = ['/in', SUBNET_ENV] as const;
const DAEMON = '/etc/docker/daemon.json';

test('daemon.json is made where there is none', async (t) => {
  const { status, written } = await run(AS_JSON, new Map([IN]));
  t.is(status, 0);
  t.deepEqual(JSON.parse(written.get(DAEMON) ?? ''), { bip: '10.1.74.1/24', mtu: 1472, 'ip-masq': true });
});

test('daemon.json keeps what it has, and -m leaves ip-masq alone', async (t) => {
  const { written } = await run(
    [...AS_JSON, '-m', '-d', '/d'],
    new Map([IN, ['/d', '{ "ip-masq": false, "mtu": 9 }']]),
  );
  t.is(written.get('/d'), '{ "ip-masq": false, "mtu": 1472, "bip": "10.1.74.1/24" }');
});

test('a bip of daemon.json that is a part of the lease stays', async (t) => {
  for (const [bip, after] of [
    ['10.1.74.1/25', '10.1.74.1/25'],
    ['10.1.75.1/25', '10.1.74.1/24'],
    ['10.1.74.1/23', '10.1.74.1/24'],
    ['junk', '10.1.74.1/24'],
  ]) {
    const { written } = await run(AS_JSON, new Map([IN, [DAEMON, JSON.stringify({ bip })]]));
    t.is(JSON.parse(written.get(DAEMON) ?? '').bip, after);
  }
});

test('daemon.json is printed for -', async (t) => {
  const { written, stdout } = await run([...AS_JSON, '-d', '-'], new Map([IN, [DAEMON, '{"debug":true}']]));
  t.is(written.size, 0);
  t.is(stdout, '{"debug":true, "bip": "10.1.74.1/24", "mtu": 1472, "ip-masq": true }');
});

const refusals: readonly (readonly [name: string, files: readonly (readonly [string, string])[], engine: Engine])[] = [
  ['junk', [IN, [DAEMON, '{ "mtu": 1,']], NO_ENGINE],
  ['no lease', [], NO_ENGINE],
  ['a lease without an MTU', [['/in', 'FLANNEL_SUBNET=10.5.1.1/24\n']], NO_ENGINE],
  [
    'a unit that has the options already',
    [IN],
    { ...NO_ENGINE, configFile: DAEMON, unit: { path: '/u', after: new Set(), ownOptions: { isOptional: false } } },
  ],
  [
    'a command line that sets one of the keys',
    [IN],
    { ...NO_ENGINE, configFile: DAEMON, settings: new Map([['mtu', [{ value: '1', from: '/u', isFlag: true }]]]) },
  ],
  [
    'a bridge of its own',
    [IN],
    {
      ...NO_ENGINE,
      configFile: DAEMON,
      settings: new Map([['bridge', [{ value: 'br0', from: DAEMON, isFlag: false }]]]),
    },
  ],
];

for (const [name, files, engine] of refusals) {
  test(`daemon.json is left alone: ${name}`, async (t) => {
    const { status, written, stderr } = await run(AS_JSON, new Map(files), engine);
    t.deepEqual([status, written.size], [1, 0]);
    t.not(stderr, '');
  });
}

test('Docker with an nftables firewall gets its two keys, and MTUs for networks to come', async (t) => {
  const knownFlags = new Set(['bridge-accept-fwmark', 'allow-direct-routing', 'default-network-opt']);
  const engine: Engine = {
    ...NO_ENGINE,
    isFound: true,
    chosenBackend: { value: 'nftables', from: DAEMON },
    knownFlags: { value: knownFlags, from: '/usr/bin/dockerd' },
  };
  const { written } = await run(AS_JSON, new Map([IN, [DAEMON, '{"firewall-backend":"nftables"}']]), engine);
  t.deepEqual(JSON.parse(written.get(DAEMON) ?? ''), {
    'firewall-backend': 'nftables',
    ...{ bip: '10.1.74.1/24', mtu: 1472, 'ip-masq': true },
    ...{ 'bridge-accept-fwmark': '0x1000/0x1000', 'allow-direct-routing': true },
    'default-network-opts': { bridge: { 'com.docker.network.driver.mtu': '1472' } },
  });
});

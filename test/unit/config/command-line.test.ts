import test from 'ava';
import fc from 'fast-check';
import { parseCommandLine } from '../../../config/command-line.ts';
import { COMMAND_NAMES, type Command } from '../../../config/commands.ts';
import { type Environment, variablesOf } from '../../../config/environment.ts';
import { effectiveOptions, type Invocation } from '../../../config/invocation.ts';
import { flagName, isTakenBy, OPTION_KEYS, OPTIONS } from '../../../config/options.ts';

function invoked(argv: readonly string[], env: Environment = {}): Invocation {
  const result = parseCommandLine(argv, env);
  if (!result.ok) throw new TypeError(result.problems.join('; '));
  return result.invocation;
}

/** What each problem is about: `--flag`, `--flag (VARIABLE)` or the argument. */
function problems(argv: readonly string[], env: Environment = {}): readonly string[] {
  const result = parseCommandLine(argv, env);
  return result.ok ? [] : result.problems.map((problem) => /^[^:;]*/.exec(problem)?.[0] ?? '');
}

function warnings(argv: readonly string[], env: Environment = {}): readonly string[] {
  return invoked(argv, env).warnings.map((warning) => warning.slice(0, warning.indexOf(':')));
}

test("the defaults are flanneld's and ours", (t) => {
  const { command, options, args, warnings: said, origins } = invoked([]);
  t.is(command, 'run');
  t.deepEqual([args, said], [[], []]);
  t.true(Object.values(origins).every((origin) => origin === 'default'));
  t.deepEqual(
    { ...options, publicIp: options.publicIp ?? null },
    {
      etcdEndpoints: ['http://127.0.0.1:4001', 'http://127.0.0.1:2379'],
      etcdPrefix: '/coreos.com/network',
      etcdKeyfile: '',
      etcdCertfile: '',
      etcdCafile: '',
      etcdUsername: '',
      etcdPassword: '',
      leaseTtl: 86_400,
      subnetLeaseRenewMargin: 60,
      nodeName: '',
      iface: [],
      ifaceRegex: [],
      ifaceCanReach: undefined,
      publicIp: null,
      publicIpv6: undefined,
      subnetFile: '/run/flannel/subnet.env',
      dockerOptsFile: '/run/flannel/docker',
      dockerOptsKey: 'DOCKER_NETWORK_OPTIONS',
      stateDir: '/var/lib/tartan/coreos.com/network',
      statusSocket: '/run/flannel/subnet.sock',
      ipMasq: false,
      ipMasqFullyRandomDisable: false,
      iptablesForwardRules: true,
      iptablesResync: 5,
      dockerRules: 'auto',
      dockerd: '',
      peerFilter: 'enforce',
      ipBlackholeRoute: false,
      resync: 60,
      nexthopObjects: 'auto',
      pathProbe: 60,
      dataPathWithout: [],
      healthzIp: OPTIONS.healthzIp.default,
      healthzPort: 0,
      json: false,
      check: false,
      force: false,
      release: false,
      purge: false,
      timeout: 0,
      logLevel: 'info',
      logFormat: 'auto',
    },
  );
});

const commands: readonly (readonly [argv: readonly string[], command: Command, args: readonly string[]])[] = [
  [['run'], 'run', []],
  [['-healthz-port=1'], 'run', []],
  [['config', 'get'], 'config get', []],
  [['config', 'set', 'net.json', '--force'], 'config set', ['net.json']],
  [['config', 'set', '--force', '-'], 'config set', ['-']],
  [['config', 'check', '--', '-odd-name'], 'config check', ['-odd-name']],
  [['leases', '--json'], 'leases', []],
  [['status'], 'status', []],
  [['wait', '--timeout', '5'], 'wait', []],
  [['down', '--release'], 'down', []],
  [['docker', 'opts', '-i'], 'docker opts', []],
  [['help'], 'help', []],
  [['help', 'config', 'set'], 'help', ['config', 'set']],
  [['help', 'config'], 'help', ['config']],
  [['version'], 'version', []],
  [['--version'], 'version', []],
  [['-version'], 'version', []],
  [['run', '--no-such', '-version'], 'version', []],
  [['-version=false'], 'run', []],
  [['-h'], 'help', []],
  [['--help', '--version'], 'help', []],
  [['--public-ip', 'x', '-help'], 'help', []],
  [['config', 'set', '-h'], 'help', ['config', 'set']],
  [['docker', 'opts', '-h'], 'help', ['docker', 'opts']],
  [['no-such-command', '--help'], 'help', []],
];

for (const [argv, command, args] of commands) {
  test(`"${argv.join(' ')}" is ${command}`, (t) => {
    const invocation = invoked(argv, { FLANNELD_PUBLIC_IP: '192.0.2.1' });
    t.is(invocation.command, command);
    t.deepEqual(invocation.args, args);
  });
}

test('help and version answer whatever the environment holds', (t) => {
  for (const argv of [['help'], ['--version']]) t.notThrows(() => invoked(argv, { TARTAN_HEALTHZ_PORT: 'x' }));
});

const spellings: readonly (readonly string[])[] = [
  ['-etcd-prefix=/a'],
  ['--etcd-prefix=/a'],
  ['-etcd-prefix', '/a'],
  ['--etcd-prefix', '/a'],
];

for (const argv of spellings) {
  test(`"${argv.join(' ')}" sets the prefix`, (t) => {
    const { options, origins } = invoked(argv);
    t.is(options.etcdPrefix, '/a');
    t.is(origins['etcdPrefix'], 'flag');
    t.is(options.stateDir, '/var/lib/tartan/a');
  });
}

test('a value may look like a flag, and the last of several wins', (t) => {
  t.deepEqual(problems(['--healthz-port', '-5']), ['--healthz-port']);
  t.is(invoked(['--node-name', '-h']).options.nodeName, '-h');
  t.is(invoked(['--node-name', '--', '--healthz-port=1', '--healthz-port=2']).options.healthzPort, 2);
  t.deepEqual(problems(['--healthz-port=x', '--healthz-port=2']), ['--healthz-port']);
});

test('a switch takes its value after = only', (t) => {
  t.true(invoked(['leases', '--json']).options.json);
  t.false(invoked(['leases', '--json=false']).options.json);
  t.true(invoked(['leases', '--json=T']).options.json);
  t.deepEqual(problems(['leases', '--json', 'false']), ['unexpected argument "false"']);
  t.deepEqual(problems(['leases', '--json=maybe']), ['--json']);
});

test('whole numbers are read as Go reads them', (t) => {
  const port = (text: string) => invoked([`--healthz-port=${text}`]).options.healthzPort;
  t.deepEqual(['10', '+10', '0x10', '010', '0o10', '0b10', '-0', '00'].map(port), [10, 10, 16, 8, 8, 2, 0, 0]);
  for (const text of ['', ' 1', '1.0', '1e3', '08', '0x', 'NaN', 'Infinity']) {
    t.deepEqual(problems([`--healthz-port=${text}`]), ['--healthz-port'], text);
  }
});

test('a list of choices names each once or more, or none', (t) => {
  const without = (text: string) => invoked([`--data-path-without=${text}`]).options.dataPathWithout;
  t.deepEqual(without('udp-gso, wasm'), ['udp-gso', 'wasm']);
  t.deepEqual(without(''), []);
  t.deepEqual(problems(['--data-path-without=udp-gso,gro']), ['--data-path-without']);
});

test('repeatable flags keep their order, one variable is one value', (t) => {
  const { options } = invoked(['--iface=eth0', '--iface', '10.0.0.1', '--iface-regex=^eth', '--iface-regex=(?i)^EN']);
  t.deepEqual(options.iface, ['eth0', '10.0.0.1']);
  t.deepEqual(
    options.ifaceRegex.map((regex) => regex.test('ens3')),
    [false, true],
  );
  t.deepEqual(invoked([], { FLANNELD_IFACE: 'eth0,eth1' }).options.iface, ['eth0,eth1']);
});

test('a flag wins over TARTAN_, that over FLANNELD_, and an empty variable is none', (t) => {
  const env = { TARTAN_ETCD_PREFIX: '/t', FLANNELD_ETCD_PREFIX: '/f' };
  const prefix = (argv: readonly string[], from: Environment) => invoked(argv, from).options.etcdPrefix;
  t.is(prefix(['--etcd-prefix=/c'], env), '/c');
  t.is(prefix([], env), '/t');
  t.is(prefix([], { ...env, TARTAN_ETCD_PREFIX: '' }), '/f');
  t.is(prefix([], { FLANNELD_ETCD_PREFIX: '' }), '/coreos.com/network');
  t.is(invoked([], env).origins['etcdPrefix'], 'environment');
});

test('NODE_NAME names the node where neither the flag nor TARTAN_NODE_NAME does', (t) => {
  const name = (argv: readonly string[], env: Environment) => invoked(argv, env).options.nodeName;
  t.is(name([], { NODE_NAME: 'n' }), 'n');
  t.is(name([], { NODE_NAME: 'n', TARTAN_NODE_NAME: 't' }), 't');
  t.is(name(['--node-name=f'], { NODE_NAME: 'n', TARTAN_NODE_NAME: 't' }), 'f');
});

test('all problems of flags and environment come at once, each naming its option and its variable', (t) => {
  const argv = ['--healthz-port=99999', '--etcd-prefx=/x', '--iface-regex=(', 'stray', '--ip-blackhole-route', '--v'];
  const env = { TARTAN_LEASE_TTL: '4', FLANNELD_PUBLIC_IP: 'fd00::1', FLANNELD_KUBE_SUBNET_MGR: 'true' };
  t.deepEqual([...problems(argv, env)].sort(), [
    '--etcd-prefx',
    '--healthz-port',
    '--iface-regex',
    '--ip-blackhole-route',
    '--kube-subnet-mgr (FLANNELD_KUBE_SUBNET_MGR)',
    '--lease-ttl (TARTAN_LEASE_TTL)',
    '--public-ip (FLANNELD_PUBLIC_IP)',
    '--v',
    'unexpected argument "stray"',
  ]);
});

const refused: readonly (readonly [argv: readonly string[], ...about: readonly string[]])[] = [
  [['--subnet-lease-renew-margin=0'], '--subnet-lease-renew-margin'],
  [['--subnet-lease-renew-margin=1440'], '--subnet-lease-renew-margin'],
  [['--healthz-port=65536'], '--healthz-port'],
  [['--healthz-port=-1'], '--healthz-port'],
  [['--healthz-ip=localhost'], '--healthz-ip'],
  [['--lease-ttl=2147483649'], '--lease-ttl'],
  [['--resync=0'], '--resync'],
  [['--public-ip=fd00::1'], '--public-ip'],
  [['--public-ip=127.0.0.1'], '--public-ip'],
  [['--public-ip=224.0.0.1'], '--public-ip'],
  [['--public-ipv6=192.0.2.1'], '--public-ipv6'],
  [['--iface-can-reach=example'], '--iface-can-reach'],
  [['--iface='], '--iface'],
  [['--iface-regex='], '--iface-regex'],
  [['--iface-regex=(?=x)'], '--iface-regex'],
  [['--nexthop-objects=on'], '--nexthop-objects'],
  [['--log-level=loud'], '--log-level'],
  [['--docker-opts-key=A B'], '--docker-opts-key'],
  [['--subnet-file='], '--subnet-file'],
  [['--etcd-prefix='], '--etcd-prefix'],
  [['--etcd-prefix=/'], '--etcd-prefix'],
  [['--etcd-prefix=/a/..'], '--etcd-prefix'],
  [['--etcd-endpoints='], '--etcd-endpoints'],
  [['--etcd-endpoints=http://a:1,,http://b:1'], '--etcd-endpoints'],
  [['--etcd-endpoints=ftp://a:1,http://b:1/path,c'], '--etcd-endpoints', '--etcd-endpoints', '--etcd-endpoints'],
  [['--etcd-endpoints=https://a:1', '--etcd-keyfile=k'], '--etcd-keyfile'],
  [['--etcd-endpoints=https://a:1', '--etcd-certfile=c'], '--etcd-certfile'],
  [['--iptables-resync=0'], '--iptables-resync'],
  [['--peer-filter=on'], '--peer-filter'],
  [['--docker-rules=on'], '--docker-rules'],
  [['--ip-blackhole-route'], '--ip-blackhole-route'],
  [['--kube-subnet-mgr'], '--kube-subnet-mgr'],
  [['--kube-api-url=http://a'], '--kube-api-url'],
  [['--kubeconfig-file', 'f'], '--kubeconfig-file'],
  [['--kube-annotation-prefix=x'], '--kube-annotation-prefix'],
  [['--net-config-path=x'], '--net-config-path'],
  [['--set-node-network-unavailable=false'], '--set-node-network-unavailable'],
  [['--no-such', 'value'], '--no-such'],
  [['--no-such=a', '--no-such=b'], '--no-such'],
  [['--=x'], '--=x'],
  [['---iface=x'], '---iface'],
  [['--force'], '--force'],
  [['status', '--etcd-prefix=/x'], '--etcd-prefix'],
  [['status', '--v=1'], '--v'],
  [['--iface'], '--iface'],
  [['--json', 'leases'], '--json', 'unexpected argument "leases"'],
  [['config', 'set', 'a', 'b'], 'unexpected argument "b"'],
  [['version', 'x'], 'unexpected argument "x"'],
  [['config'], '"config" needs a second word'],
  [['config', 'gte'], '"config" needs a second word'],
  [['statsu'], '"statsu" is no command'],
  [[''], '"" is no command'],
  [['help', 'nothing'], '"nothing" is no command'],
  [['docker', 'opts', '-x'], '-x'],
];

for (const [argv, ...about] of refused) {
  test(`"${argv.join(' ')}" is refused`, (t) => t.deepEqual(problems(argv), about));
}

test('a slip is answered with the name that was meant', (t) => {
  const slips: readonly (readonly [argv: readonly string[], meant: string])[] = [
    [['--etcd-prefx=/x'], '--etcd-prefix'],
    [['statsu'], 'status'],
    [['statsu', '--json'], 'status'],
    [['confg', 'set'], 'config set'],
    [['confg', 'x.json'], 'config'],
    [['config', 'gte'], 'config get'],
    [['help', 'lease'], 'leases'],
  ];
  for (const [argv, meant] of slips) {
    const result = parseCommandLine(argv, {});
    t.true(!result.ok && result.problems.some((problem) => problem.includes(`did you mean ${meant}?`)), meant);
  }
});

const warned: readonly (readonly [argv: readonly string[], env: Environment, ...about: readonly string[]])[] = [
  [['-v=4', '--logtostderr', '-vmodule=a=1'], {}, '--v', '--logtostderr', '--vmodule'],
  [['--ip-masq', '--iptables-resync=9', '--ip-masq-fully-random-disable', '--iptables-forward-rules'], {}],
  [['--iptables-forward-rules=false', '--ip-masq=false', '--ip-blackhole-route=false', '--kube-subnet-mgr=false'], {}],
  [['--set-node-network-unavailable', '--kube-api-url=', '--net-config-path=/etc/kube-flannel/net-conf.json'], {}],
  [['--etcd-cafile=ca'], {}, '--etcd-cafile'],
  [['--etcd-username=u'], {}, '--etcd-username'],
  [['--etcd-prefix=a/b'], {}, '--etcd-prefix'],
  [['--etcd-endpoints=http://u:p@a:1'], {}, '--etcd-endpoints'],
  [[], { FLANNELD_V: '3', FLANNELD_LOG_BACKTRACE_AT: 'x' }, 'FLANNELD_V', 'FLANNELD_LOG_BACKTRACE_AT'],
  [[], { FLANNELD_KUBE_SUBNET_MGR: 'false', FLANNELD_VERSION: '1', TARTAN_VERSION: '2', TARTAN_X: '', OTHER: 'x' }],
  [[], { TARTAN_IFACES: 'x', FLANNELD_NODE_NAME: 'n' }, 'TARTAN_IFACES', 'FLANNELD_NODE_NAME'],
  [['status'], { FLANNELD_KUBE_SUBNET_MGR: 'true', FLANNELD_HEALTHZ_PORT: 'not for status' }],
];

for (const [argv, env, ...about] of warned) {
  test(`"${argv.join(' ')}" with ${JSON.stringify(env)} passes with ${about.length} warnings`, (t) => {
    t.deepEqual(warnings(argv, env), about);
  });
}

const endpoints: readonly (readonly [text: string, ...urls: readonly string[]])[] = [
  ['http://a:1, https://b:2', 'http://a:1', 'https://b:2'],
  ['a:2379', 'http://a:2379'],
  ['10.0.0.1:2379,[fd00::1]:2379', 'http://10.0.0.1:2379', 'http://[fd00::1]:2379'],
  ['HTTP://Host:80/', 'http://host:80'],
  ['https://host', 'https://host:443'],
  ['http://user:word@host:2379', 'http://host:2379'],
];

for (const [text, ...urls] of endpoints) {
  test(`the endpoints ${text} are ${urls.join(' and ')}`, (t) => {
    t.deepEqual(invoked([`--etcd-endpoints=${text}`]).options.etcdEndpoints, urls);
  });
}

test('a bare endpoint means TLS where key and certificate are given', (t) => {
  const tls = invoked(['--etcd-endpoints=a:2379', '--etcd-keyfile=k', '--etcd-certfile=c']);
  t.deepEqual(tls.options.etcdEndpoints, ['https://a:2379']);
  t.deepEqual(tls.warnings, []);
});

test("the prefix is cleaned as flanneld's paths are", (t) => {
  const prefix = (text: string) => invoked([`--etcd-prefix=${text}`]).options.etcdPrefix;
  t.deepEqual(['/a//b/', '/a/./b', '/a/x/../b', 'a/b/'].map(prefix), ['/a/b', '/a/b', '/a/b', 'a/b']);
});

test('the Docker options of two networks are two files, beside their subnet files', (t) => {
  const docker = (...flags: string[]) => invoked(flags).options.dockerOptsFile;
  t.is(docker('--subnet-file=/x/subnet.env'), '/x/docker');
  t.is(docker('--subnet-file=subnet.env'), 'docker');
  t.is(docker('--subnet-file=/x/two.env'), '/x/two.docker');
  t.is(docker('--subnet-file=/x/my-subnet.env'), '/x/my-subnet.docker');
  t.is(docker('--subnet-file=/x/two.env', '--docker-opts-file='), '');
  t.is(docker('--subnet-file=/x/two.env', '--docker-opts-file=/d'), '/d');
});

test('socket and state directory follow the subnet file and the prefix, unless they are given', (t) => {
  const socket = (file: string) => invoked([`--subnet-file=${file}`]).options.statusSocket;
  t.deepEqual(['/x/y.env', '/x.d/y', '/x/.env', 'y.env'].map(socket), [
    '/x/y.sock',
    '/x.d/y.sock',
    '/x/.env.sock',
    'y.sock',
  ]);
  const given = invoked(['--status-socket=/s', '--state-dir=/d', '--etcd-prefix=/p', '--subnet-file=/f']).options;
  t.deepEqual([given.statusSocket, given.stateDir], ['/s', '/d']);
});

test('no password is shown, neither among the options nor in a message', (t) => {
  const secret = 'hunter2';
  const argv = ['--etcd-username=u', `--etcd-password=${secret}`, `--etcd-endpoints=http://u:${secret}@a:1`];
  const invocation = invoked(argv);
  t.is(invocation.options.etcdPassword, secret);
  t.false(JSON.stringify([effectiveOptions(invocation), invocation.warnings]).includes(secret));
  const made = { ...invocation, options: { ...invocation.options, etcdEndpoints: [`http://u:${secret}@a:1`] } };
  t.false(JSON.stringify(effectiveOptions(made)).includes(secret));
  for (const text of [`http://u:${secret}@a:1/path`, `u:${secret}@`, `ftp://${secret}@a`, `http://u:p@${secret}@/:`]) {
    t.false(
      JSON.stringify(parseCommandLine([`--etcd-endpoints=${text}`, `--etcd-pasword=${secret}`], {})).includes(secret),
      text,
    );
  }
  t.false(JSON.stringify(parseCommandLine(['--etcd-pasword', secret], {})).includes(secret));
});

test('the options shown are those of the command', (t) => {
  const keys = Object.keys(effectiveOptions(invoked(['status'])));
  t.deepEqual(
    keys,
    OPTION_KEYS.filter((key) => isTakenBy(key, 'status')),
  );
  t.deepEqual(effectiveOptions(invoked(['--iface-regex=^e']))['ifaceRegex'], ['^e']);
});

test('every option is reachable by its flag and by each of its variables', (t) => {
  const texts: Readonly<Record<string, string>> = {
    etcdEndpoints: 'http://a:1',
    ifaceCanReach: '192.0.2.1',
    publicIp: '192.0.2.1',
    publicIpv6: 'fd00::1',
    healthzIp: '127.0.0.1',
    nexthopObjects: 'off',
    logLevel: 'debug',
    logFormat: 'json',
    dockerOptsKey: 'KEY',
    dockerRules: 'off',
    peerFilter: 'report',
    dataPathWithout: 'udp-gso,wasm',
    ipBlackholeRoute: 'false',
  };
  for (const key of OPTION_KEYS) {
    const { kind, commands: takers } = OPTIONS[key];
    const text = texts[key] ?? (kind.isBoolean ? 'true' : '7');
    const words = (takers[0] ?? 'run').split(' ');
    t.is(invoked([...words, `--${flagName(key)}=${text}`]).origins[key], 'flag', key);
    for (const name of variablesOf(key)) t.is(invoked(words, { [name]: text }).origins[key], 'environment', name);
  }
});

test('no argument and no variable makes the parser throw', (t) => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom(
      ...COMMAND_NAMES.flatMap((name) => name.split(' ')),
      ...OPTION_KEYS.map((key) => `--${flagName(key)}`),
    ),
    fc.constantFrom(
      '--',
      '-',
      '--__proto__=1',
      '-constructor',
      '--no-json',
      '-=',
      '--help=',
      '--toString',
      '-f',
      '-ic',
    ),
    fc.tuple(fc.constantFrom(...OPTION_KEYS), fc.string()).map(([key, value]) => `-${flagName(key)}=${value}`),
  );
  const variables = fc.dictionary(
    fc.constantFrom(...OPTION_KEYS.flatMap(variablesOf), 'TARTAN_', 'FLANNELD_V'),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), variables, (argv, env) => {
      const result = parseCommandLine(argv, env);
      if (!result.ok) t.true(result.problems.length > 0);
    }),
    { numRuns: 3000 },
  );
});

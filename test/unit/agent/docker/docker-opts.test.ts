import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { dockerNetworkOptions, makeDockerOpts } from '../../../../agent/docker/docker-opts.ts';
import { type DockerOptsFlags, parseDockerOptsFlags } from '../../../../config/docker-opts-flags.ts';
import { prefix } from '../../../support/addresses.ts';

function flagsOf(argv: readonly string[]): DockerOptsFlags {
  const result = parseDockerOptsFlags(argv);
  if (!result.ok) throw new TypeError(result.problems.join('; '));
  return result.flags;
}

/** What flannel's own script wrote for the same flags and environment. */
const golden = (name: string) => readFileSync(`test/golden/docker-opts/${name}.env`, 'utf8');
const SUBNET_ENV = golden('subnet');
const EXTRAS = { DOCKER_OPTS: '--debug', DOCKER_OPT_ZED: '--zed=1', MY_DOCKER_OPT_X: '-x', UNSET: undefined };

const cases: readonly (readonly [
  name: string,
  argv: readonly string[],
  env?: Readonly<Record<string, string | undefined>>,
])[] = [
  ['none', []],
  ['i', ['-i']],
  ['c', ['-c']],
  ['k', ['-k', 'CUSTOM_KEY']],
  ['m', ['-m']],
  ['icm', ['-icm']],
  ['environment', [], EXTRAS],
];

for (const [name, argv, env] of cases) {
  test(`the options written for "${argv.join(' ')}" with ${JSON.stringify(env ?? {})}`, (t) => {
    t.deepEqual(makeDockerOpts(SUBNET_ENV, flagsOf(argv), env ?? {}), { ok: true, text: golden(name) });
  });
}

test('without a subnet file there are no options', (t) => {
  t.deepEqual(makeDockerOpts(undefined, flagsOf([]), {}), { ok: true, text: golden('no-subnet') });
});

test('Docker masquerades when flannel does not', (t) => {
  const ipMasq = (value: string) => makeDockerOpts(`FLANNEL_IPMASQ=${value}\n`, flagsOf(['-i']), {});
  t.deepEqual(ipMasq('true'), { ok: true, text: 'DOCKER_OPT_IPMASQ="--ip-masq=false"\n' });
  t.deepEqual(ipMasq('false'), { ok: true, text: 'DOCKER_OPT_IPMASQ="--ip-masq=true"\n' });
  t.deepEqual(ipMasq(''), { ok: true, text: '' });
  t.false(ipMasq('maybe').ok);
  t.true(makeDockerOpts('FLANNEL_IPMASQ=maybe\n', flagsOf(['-m']), {}).ok);
});

test('the subnet file wins over the environment', (t) => {
  const result = makeDockerOpts(SUBNET_ENV, flagsOf(['-i', '-m']), { FLANNEL_MTU: '9000', DOCKER_OPT_BIP: '--bip=x' });
  t.deepEqual(result, { ok: true, text: golden('m').split('\n').slice(0, 2).join('\n').concat('\n') });
});

test('a value with spaces stays whole', (t) => {
  const result = makeDockerOpts('', flagsOf(['-i']), { DOCKER_OPT_LABEL: '--label a b' });
  t.deepEqual(result, { ok: true, text: 'DOCKER_OPT_LABEL="--label a b"\n' });
});

test('no subnet file makes it throw', (t) => {
  fc.assert(fc.property(fc.string(), (text) => t.is(typeof makeDockerOpts(text, flagsOf([]), {}).ok, 'boolean')));
});

const own = { subnet: prefix('10.5.66.0/24'), subnet6: undefined };

test("the agent's line", (t) => {
  t.is(
    dockerNetworkOptions({ own, mtuBytes: 1450, ipMasq: false, key: 'DOCKER_NETWORK_OPTIONS' }),
    'DOCKER_NETWORK_OPTIONS=" --bip=10.5.66.1/24 --ip-masq=true --mtu=1450"\n',
  );
  t.is(
    dockerNetworkOptions({ own, mtuBytes: 1500, ipMasq: true, key: 'X' }),
    'X=" --bip=10.5.66.1/24 --ip-masq=false --mtu=1500"\n',
  );
});

test("the agent's line is the script's", (t) => {
  const line = dockerNetworkOptions({
    own: { subnet: prefix('10.1.74.0/24'), subnet6: undefined },
    mtuBytes: 1472,
    ipMasq: false,
    key: 'DOCKER_OPTS',
  });
  t.is(line, golden('c'));
});

test('a lease without an IPv4 subnet gives Docker no bridge address', (t) => {
  const six = { subnet: prefix('0.0.0.0/0'), subnet6: prefix('fd00:5:0:12::/64') };
  t.is(dockerNetworkOptions({ own: six, mtuBytes: 1430, ipMasq: false, key: 'X' }), 'X=" --ip-masq=true --mtu=1430"\n');
});

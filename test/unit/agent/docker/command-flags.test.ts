import { readFileSync } from 'node:fs';
import test from 'ava';
import { commandFlags, flagsInHelp, lastOf } from '../../../../agent/docker/command-flags.ts';

const cases: readonly (readonly [line: string, flags: Record<string, readonly string[]>])[] = [
  ['-H fd:// -H unix:///run/docker.sock', { host: ['fd://', 'unix:///run/docker.sock'] }],
  ['-Hfd:// --host=tcp://0', { host: ['fd://', 'tcp://0'] }],
  ['--bip 10.5.1.1/24 --mtu=1450', { bip: ['10.5.1.1/24'], mtu: ['1450'] }],
  [
    '--iptables=false --allow-direct-routing --bip=1',
    { iptables: ['false'], 'allow-direct-routing': ['true'], bip: ['1'] },
  ],
  ['--icc stray --mtu', { icc: ['true'], mtu: ['true'] }],
  ['-D -b br0 stray', { bridge: ['br0'] }],
  ['', {}],
];

for (const [line, flags] of cases) {
  test(`dockerd ${line}`, (t) => t.deepEqual(Object.fromEntries(commandFlags(line.split(' '))), flags));
}

test('the last of several counts', (t) => {
  t.is(lastOf(commandFlags(['--mtu=1', '--mtu=2']), 'mtu'), '2');
  t.is(lastOf(commandFlags([]), 'mtu'), undefined);
});

const help = (version: string) => flagsInHelp(readFileSync(`test/golden/docker-rules/${version}-help.txt`, 'utf8'));

test('Docker 20.10 says which flags it knows', (t) => {
  const flags = help('20.10');
  t.true(flags?.has('bip') && flags.has('bridge') && flags.has('ip-masq') && flags.has('live-restore'));
  t.false(flags?.has('allow-direct-routing') || flags?.has('firewall-backend') || flags?.has('bridge-accept-fwmark'));
});

test('Docker 29 says which flags it knows', (t) => {
  const flags = help('29');
  for (const name of [
    'bip',
    'bridge-accept-fwmark',
    'allow-direct-routing',
    'firewall-backend',
    'default-network-opt',
  ]) {
    t.true(flags?.has(name), name);
  }
});

test('what is no such list tells nothing', (t) => {
  t.is(flagsInHelp(''), undefined);
  t.is(flagsInHelp('Usage: dockerd\n      --bip string   x\n'), undefined);
});

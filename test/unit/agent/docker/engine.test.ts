import test from 'ava';
import { dockerWays, type Engine, NO_ENGINE, parseMark } from '../../../../agent/docker/engine.ts';

const OURS = { value: 0x1000, mask: 0x1000 };
const FLAGS = ['--bridge-accept-fwmark=0x1000/0x1000', '--allow-direct-routing'];
const knows = (...names: readonly string[]): Engine['knownFlags'] => ({
  value: new Set(names),
  from: '/usr/bin/dockerd',
});
const DOCKER: Engine = { ...NO_ENGINE, isFound: true, dockerd: { value: '/usr/bin/dockerd', from: 'PATH' } };
const NFTABLES: Engine = {
  ...DOCKER,
  chosenBackend: { value: 'nftables', from: '/etc/docker/daemon.json' },
  knownFlags: knows('bridge-accept-fwmark', 'allow-direct-routing'),
};
const setting = (value: unknown) => [{ value, from: '/etc/docker/daemon.json', isFlag: false }];

test('without Docker nothing is to be done', (t) => {
  t.deepEqual(dockerWays(NO_ENGINE, 'auto'), { deviceRules: false, mark: undefined, extraFlags: [], notes: [] });
});

test('with iptables Docker needs rules alone, and no flag that it may not know', (t) => {
  const rules = { deviceRules: true, mark: undefined, extraFlags: [], notes: [] };
  t.deepEqual(dockerWays(DOCKER, 'auto'), rules);
  t.deepEqual(dockerWays({ ...DOCKER, runningBackend: 'iptables' }, 'auto'), rules);
  t.deepEqual(dockerWays(NFTABLES, 'iptables'), rules);
});

test('with nftables it needs the mark and two flags as well', (t) => {
  const all = { deviceRules: true, mark: OURS, extraFlags: FLAGS, notes: [] };
  t.deepEqual(dockerWays(NFTABLES, 'auto'), all);
  t.deepEqual(dockerWays({ ...NFTABLES, chosenBackend: undefined, runningBackend: 'nftables' }, 'auto'), all);
  t.deepEqual(dockerWays({ ...NFTABLES, chosenBackend: undefined }, 'nftables'), all);
});

test('off is off', (t) => {
  t.deepEqual(dockerWays(NFTABLES, 'off'), { deviceRules: false, mark: undefined, extraFlags: [], notes: [] });
});

test('what it does not certainly know is not written, and told', (t) => {
  const unsure: readonly Engine[] = [
    { ...NFTABLES, knownFlags: undefined },
    { ...NFTABLES, knownFlags: undefined, dockerd: undefined },
    { ...NFTABLES, knownFlags: knows('allow-direct-routing') },
    { ...NFTABLES, knownFlags: knows() },
  ];
  for (const engine of unsure) {
    const { mark, extraFlags, notes } = dockerWays(engine, 'auto');
    t.deepEqual([mark, extraFlags, notes.length], [OURS, [], 1]);
  }
});

test('what somebody else sets is not set again, and their mark is taken', (t) => {
  const routed = { ...NFTABLES, settings: new Map([['allow-direct-routing', setting(true)]]) };
  t.deepEqual(dockerWays(routed, 'auto').extraFlags, FLAGS.slice(0, 1));
  const marked = { ...NFTABLES, settings: new Map([['bridge-accept-fwmark', setting('0x54/0xff')]]) };
  t.deepEqual(dockerWays(marked, 'auto').mark, { value: 0x54, mask: 0xff });
  t.deepEqual(dockerWays(marked, 'auto').extraFlags, FLAGS.slice(1));
  const both = { ...NFTABLES, settings: new Map([...routed.settings, ...marked.settings]), knownFlags: undefined };
  t.deepEqual(dockerWays(both, 'auto'), {
    deviceRules: true,
    mark: { value: 0x54, mask: 0xff },
    extraFlags: [],
    notes: [],
  });
});

test('a mark that is none is told, and not made up for', (t) => {
  const { mark, notes } = dockerWays(
    { ...NFTABLES, settings: new Map([['bridge-accept-fwmark', setting('soon')]]) },
    'auto',
  );
  t.deepEqual([mark, notes.length], [undefined, 1]);
});

const marks: readonly (readonly [text: string, mark: ReturnType<typeof parseMark>])[] = [
  ['0x1000/0x1000', OURS],
  ['84', { value: 84, mask: 0xff_ff_ff_ff }],
  ['010/0b11', { value: 8, mask: 3 }],
  ['0/0', { value: 0, mask: 0 }],
  ['4294967295', { value: 0xff_ff_ff_ff, mask: 0xff_ff_ff_ff }],
  ...['4294967296', '', '/', '1/', '/1', '1/2/3', 'x', '-1', '1.5', '08'].map((text) => [text, undefined] as const),
];

for (const [text, mark] of marks) test(`a mark: ${JSON.stringify(text)}`, (t) => t.deepEqual(parseMark(text), mark));

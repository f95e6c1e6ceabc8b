import test from 'ava';
import fc from 'fast-check';
import { mergeDaemonJson, parseDaemonJson } from '../../../../agent/docker/daemon-json.ts';

const LEASE = new Map<string, unknown>([
  ['bip', '10.5.66.1/24'],
  ['mtu', 1450],
  ['ip-masq', true],
]);

const cases: readonly (readonly [name: string, before: string, after: string])[] = [
  ['no file', '', '{\n  "bip": "10.5.66.1/24",\n  "mtu": 1450,\n  "ip-masq": true\n}\n'],
  ['no keys', '{}', '{\n  "bip": "10.5.66.1/24",\n  "mtu": 1450,\n  "ip-masq": true\n}'],
  [
    'four spaces, and a key in its place',
    '{\n    "log-driver": "local",\n    "bip": "10.9.0.1/24",\n    "x": {"bip": 1, "y": [1,  2]}\n}\n',
    '{\n    "log-driver": "local",\n    "bip": "10.5.66.1/24",\n    "x": {"bip": 1, "y": [1,  2]},\n    "mtu": 1450,\n    "ip-masq": true\n}\n',
  ],
  ['one line', '{"debug":true}\n', '{"debug":true, "bip": "10.5.66.1/24", "mtu": 1450, "ip-masq": true }\n'],
  [
    'tabs, all there',
    '{\n\t"mtu":1450,"ip-masq" : true,\n\t"bip":\t"10.5.66.1/24"\n}',
    '{\n\t"mtu":1450,"ip-masq" : true,\n\t"bip":\t"10.5.66.1/24"\n}',
  ],
  [
    'windows',
    '{\r\n  "a": 1\r\n}\r\n',
    '{\r\n  "a": 1,\r\n  "bip": "10.5.66.1/24",\r\n  "mtu": 1450,\r\n  "ip-masq": true\r\n}\r\n',
  ],
  [
    'the last is replaced',
    '{ "a": "}", "mtu": 9000 }',
    '{ "a": "}", "mtu": 1450, "bip": "10.5.66.1/24", "ip-masq": true }',
  ],
];

for (const [name, before, after] of cases) {
  test(`keys are set: ${name}`, (t) => t.deepEqual(mergeDaemonJson(before, LEASE), { ok: true, text: after }));
}

test('objects are merged, and stay indented', (t) => {
  const wanted = new Map([['default-network-opts', { bridge: { mtu: '1450' } }]]);
  const before = '{\n  "default-network-opts": {"bridge": {"icc": "false"}, "other": {}},\n  "z": 1\n}\n';
  const after =
    '{\n  "default-network-opts": {\n    "bridge": {\n      "icc": "false",\n      "mtu": "1450"\n    },\n    "other": {}\n  },\n  "z": 1\n}\n';
  t.deepEqual(mergeDaemonJson(before, wanted), { ok: true, text: after });
});

for (const text of ['[]', '"a"', 'null', '{', '{} {}', '{"a":1,}', '// c\n{}', '\u0000', '{"a":1,"a":2}']) {
  test(`refused: ${JSON.stringify(text)}`, (t) => t.false(mergeDaemonJson(text, LEASE).ok));
}

test('nothing is lost, and a second time nothing changes', (t) => {
  const key = fc.oneof(fc.string(), fc.constantFrom('bip', 'mtu', '__proto__', '"', '\\', '{', '1'));
  fc.assert(
    fc.property(fc.dictionary(key, fc.jsonValue()), fc.constantFrom('', '  ', '\t', '    '), (object, indent) => {
      const before = JSON.stringify(object, null, indent);
      const once = mergeDaemonJson(before, LEASE);
      if (!once.ok) return false;
      t.deepEqual(JSON.parse(once.text), { ...JSON.parse(before), ...Object.fromEntries(LEASE) });
      return mergeDaemonJson(once.text, LEASE).ok && once.text === textOf(mergeDaemonJson(once.text, LEASE));
    }),
  );
});

const textOf = (result: ReturnType<typeof mergeDaemonJson>) => (result.ok ? result.text : '');

test('Docker takes the keys of some objects as if they stood outside', (t) => {
  const read = parseDaemonJson('{"bip":"a","log-opts":{"mtu":1},"any":{"mtu":2}}');
  t.deepEqual(read.ok && [...read.values], [
    ['bip', 'a'],
    ['log-opts', { mtu: 1 }],
    ['mtu', 2],
  ]);
});

test('an empty file sets nothing, junk is told', (t) => {
  const empty = parseDaemonJson('\n');
  t.is(empty.ok && empty.values.size, 0);
  for (const text of ['[]', '{', 'null', '"x"']) t.false(parseDaemonJson(text).ok);
});

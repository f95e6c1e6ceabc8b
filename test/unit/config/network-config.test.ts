import test from 'ava';
import fc from 'fast-check';
import { bitsOf, familyOf, ipToBigInt, lastAddress, networkAddress, prefixOf } from '../../../config/address.ts';
import { type NetworkConfig, parseNetworkConfig } from '../../../config/network-config.ts';
import { rangeHolds, type SubnetRange } from '../../../config/subnet-range.ts';

function parsed(json: unknown): NetworkConfig {
  const result = parseNetworkConfig(JSON.stringify(json));
  if (!result.ok) throw new TypeError(result.problems.join('; '));
  return result.config;
}

/** The fields that the problems name, in order. */
function refusedFields(text: string): readonly string[] {
  const result = parseNetworkConfig(text);
  return result.ok ? [] : result.problems.map((problem) => problem.slice(0, problem.indexOf(':')));
}

const shown = (range: SubnetRange | undefined) =>
  range && `${range.network} /${range.length} ${range.min}..${range.max}`;

const ranges: readonly (readonly [title: string, json: object, v4: string | undefined, v6: string | undefined])[] = [
  ['a /16', { Network: '10.3.0.0/16' }, '10.3.0.0/16 /24 10.3.1.0..10.3.255.0', undefined],
  ['host bits', { Network: '10.3.7.9/16' }, '10.3.0.0/16 /24 10.3.1.0..10.3.255.0', undefined],
  ['lower-camel keys', { network: '10.3.0.0/16', subnetLen: 26 }, '10.3.0.0/16 /26 10.3.0.64..10.3.255.192', undefined],
  ['a /22', { Network: '10.3.0.0/22' }, '10.3.0.0/22 /24 10.3.1.0..10.3.3.0', undefined],
  ['a /23', { Network: '10.3.0.0/23' }, '10.3.0.0/23 /25 10.3.0.128..10.3.1.128', undefined],
  ['a /28', { Network: '10.3.0.16/28' }, '10.3.0.16/28 /30 10.3.0.20..10.3.0.28', undefined],
  [
    'its own bounds',
    { Network: '10.3.0.0/16', SubnetLen: 28, SubnetMin: '10.3.5.0', SubnetMax: '10.3.8.0' },
    '10.3.0.0/16 /28 10.3.5.0..10.3.8.0',
    undefined,
  ],
  [
    'the network as SubnetMin',
    { Network: '10.3.0.0/16', SubnetMin: '10.3.0.0' },
    '10.3.0.0/16 /24 10.3.0.0..10.3.255.0',
    undefined,
  ],
  [
    'zeros',
    { Network: '10.3.0.0/16', SubnetLen: 0, SubnetMin: '0.0.0.0' },
    '10.3.0.0/16 /24 10.3.1.0..10.3.255.0',
    undefined,
  ],
  ['the last /16', { Network: '255.255.0.0/16' }, '255.255.0.0/16 /24 255.255.1.0..255.255.255.0', undefined],
  ['the upper half', { Network: '128.0.0.0/1' }, '128.0.0.0/1 /24 128.0.1.0..255.255.255.0', undefined],
  [
    'IPv6 alone',
    { EnableIPv4: false, EnableIPv6: true, IPv6Network: 'fc00::/48' },
    undefined,
    'fc00::/48 /64 fc00:0:0:1::..fc00:0:0:ffff::',
  ],
  [
    'both families',
    { Network: '10.3.0.0/16', EnableIPv6: true, IPv6Network: 'fd00:5::/56' },
    '10.3.0.0/16 /24 10.3.1.0..10.3.255.0',
    'fd00:5::/56 /64 fd00:5:0:1::..fd00:5:0:ff::',
  ],
  [
    'IPv6 bounds',
    {
      EnableIPv4: false,
      EnableIPv6: true,
      IPv6Network: 'fc00::/48',
      IPv6SubnetLen: 124,
      IPv6SubnetMin: 'fc00:0:0:5::10',
      IPv6SubnetMax: 'fc00:0:0:8::10',
    },
    undefined,
    'fc00::/48 /124 fc00:0:0:5::10..fc00:0:0:8::10',
  ],
  [
    'the last IPv6 network and null bounds',
    {
      EnableIPv4: false,
      EnableIPv6: true,
      IPv6Network: 'ffff:ffff:ffff::/48',
      IPv6SubnetMin: null,
      IPv6SubnetMax: null,
    },
    undefined,
    'ffff:ffff:ffff::/48 /64 ffff:ffff:ffff:1::..ffff:ffff:ffff:ffff::',
  ],
];

for (const [title, json, v4, v6] of ranges) {
  test(`the ranges of a config with ${title}`, (t) => {
    const config = parsed(json);
    t.is(shown(config.ranges[4]), v4);
    t.is(shown(config.ranges[6]), v6);
  });
}

test('without a Backend the type is udp', (t) => {
  t.is(parsed({ Network: '10.3.0.0/16' }).backendType, 'udp');
  t.deepEqual(parsed({ Network: '10.3.0.0/16' }).backend, {});
});

test('the backend type is lower-cased, its object kept as it is', (t) => {
  const config = parsed({ Network: '10.3.0.0/16', backend: { type: 'VXLAN', VNI: 7 } });
  t.is(config.backendType, 'vxlan');
  t.deepEqual(config.backend, { type: 'VXLAN', VNI: 7 });
});

test('null leaves a switch at its default', (t) => {
  const config = parsed({
    Network: '10.3.0.0/16',
    EnableIPv4: null,
    EnableIPv6: null,
    EnableNFTables: null,
    SubnetLen: null,
  });
  t.false(config.enableNftables);
  t.truthy(config.ranges[4]);
  t.true(parsed({ Network: '10.3.0.0/16', enablenftables: true }).enableNftables);
});

test('the text is kept', (t) => {
  const text = ' {"Network": "10.3.0.0/16"} ';
  const result = parseNetworkConfig(text);
  t.is(result.ok && result.config.text, text);
});

const refusals: readonly (readonly [json: string, ...fields: readonly string[]])[] = [
  ['', 'config'],
  ['null', 'config'],
  ['[]', 'config'],
  ['"10.5.0.0/16"', 'config'],
  ['{"Network":"10.5.0.0/16"} x', 'config'],
  ['{"Network":"10.5.0.0/16",}', 'config'],
  ['{}', 'Network'],
  ['{"Network":""}', 'Network'],
  ['{"Network":null}', 'Network'],
  ['{"Network":"0.0.0.0/0"}', 'Network'],
  ['{"Network":"10.5.0.0"}', 'Network'],
  ['{"Network":"fd00::/48"}', 'Network'],
  ['{"Network":10}', 'Network'],
  ['{"Network":"10.5.0.0/29"}', 'Network'],
  ['{"Network":"10.5.0.0/16","SubnetLen":"24"}', 'SubnetLen'],
  ['{"Network":"10.5.0.0/16","SubnetLen":-1}', 'SubnetLen'],
  ['{"Network":"10.5.0.0/16","SubnetLen":24.5}', 'SubnetLen'],
  ['{"Network":"10.5.0.0/16","SubnetLen":1e99}', 'SubnetLen'],
  ['{"Network":"10.5.0.0/16","SubnetLen":31}', 'SubnetLen'],
  ['{"Network":"10.5.0.0/16","SubnetLen":17}', 'SubnetLen'],
  ['{"Network":"10.5.0.0/16","SubnetMin":"10.6.0.0"}', 'SubnetMin'],
  ['{"Network":"10.5.0.0/16","SubnetMin":"10.5.1.1"}', 'SubnetMin'],
  ['{"Network":"10.5.0.0/16","SubnetMin":null}', 'SubnetMin'],
  ['{"Network":"10.5.0.0/16","SubnetMin":"fd00::"}', 'SubnetMin'],
  ['{"Network":"10.5.0.0/16","SubnetMax":"10.4.0.0"}', 'SubnetMax'],
  ['{"Network":"10.5.0.0/16","SubnetMax":"10.5.0.0"}', 'SubnetMin'],
  ['{"Network":"10.5.0.0/16","SubnetMin":"10.5.9.0","SubnetMax":"10.5.8.0"}', 'SubnetMin'],
  [
    '{"Network":"10.5.0.0/16","SubnetMin":"10.5.9.7","SubnetMax":"10.6.8.0","Backend":{}}',
    'SubnetMin',
    'SubnetMax',
    'Backend.Type',
  ],
  ['{"Network":"10.5.0.0/16","Backend":null}', 'Backend.Type'],
  ['{"Network":"10.5.0.0/16","Backend":{"Type":""}}', 'Backend.Type'],
  ['{"Network":"10.5.0.0/16","Backend":{"Type":3}}', 'Backend.Type'],
  ['{"Network":"10.5.0.0/16","Backend":"vxlan"}', 'Backend'],
  ['{"Network":"10.5.0.0/16","EnableIPv4":"yes"}', 'EnableIPv4'],
  ['{"Network":"10.5.0.0/16","EnableNFTables":1}', 'EnableNFTables'],
  ['{"EnableIPv4":false}', 'EnableIPv4, EnableIPv6'],
  ['{"EnableIPv4":false,"Network":""}', 'Network', 'EnableIPv4, EnableIPv6'],
  ['{"Network":"10.5.0.0/16","EnableIPv6":true}', 'IPv6Network'],
  ['{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"::/0"}', 'IPv6Network'],
  ['{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"10.6.0.0/16"}', 'IPv6Network'],
  ['{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/125"}', 'IPv6Network'],
  ['{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/48","IPv6SubnetLen":127}', 'IPv6SubnetLen'],
  ['{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/48","IPv6SubnetLen":49}', 'IPv6SubnetLen'],
  ['{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00::/48","IPv6SubnetMax":"fd01::"}', 'IPv6SubnetMax'],
  ['{"Network":"10.5.0.0/29","EnableIPv6":true,"IPv6Network":"fd00::/125"}', 'Network', 'IPv6Network'],
];

for (const [text, ...fields] of refusals) {
  test(`${text || 'empty text'} is refused for ${fields.join(' and ')}`, (t) =>
    t.deepEqual(refusedFields(text), fields));
}

const anyJson = fc.record(
  {
    Network: fc.oneof(
      fc.ipV4().chain((ip) => fc.integer({ min: 0, max: 33 }).map((n) => `${ip}/${n}`)),
      fc.jsonValue(),
    ),
    SubnetLen: fc.oneof(fc.integer({ min: -1, max: 33 }), fc.jsonValue()),
    SubnetMin: fc.oneof(fc.ipV4(), fc.jsonValue()),
    EnableIPv6: fc.boolean(),
    IPv6Network: fc.oneof(
      fc.ipV6().chain((ip) => fc.integer({ min: 0, max: 129 }).map((n) => `${ip}/${n}`)),
      fc.jsonValue(),
    ),
    IPv6SubnetLen: fc.integer({ min: -1, max: 130 }),
    Backend: fc.jsonValue(),
  },
  { requiredKeys: [] },
);

test('any text is a config or a list of problems', (t) => {
  const text = fc.oneof(
    fc.string(),
    fc.json(),
    anyJson.map((json) => JSON.stringify(json)),
  );
  fc.assert(
    fc.property(text, (value) => {
      const result = parseNetworkConfig(value);
      if (!result.ok) t.not(result.problems.length, 0);
    }),
    { numRuns: 2000 },
  );
});

test('a range starts and ends on a subnet within the network, and offers three at least by default', (t) => {
  const network = fc.integer({ min: 1, max: 28 }).chain((n) => fc.ipV4().map((ip) => `${ip}/${n}`));
  const network6 = fc.integer({ min: 1, max: 124 }).chain((n) => fc.ipV6().map((ip) => `${ip}/${n}`));
  fc.assert(
    fc.property(network, network6, (Network, IPv6Network) => {
      const result = parseNetworkConfig(JSON.stringify({ Network, EnableIPv6: true, IPv6Network }));
      if (!result.ok) return;
      for (const range of [result.config.ranges[4], result.config.ranges[6]]) {
        if (range === undefined) throw new TypeError('a family is missing');
        const size = 1n << BigInt(bitsOf(familyOf(range.network)) - range.length);
        t.is(ipToBigInt(range.min), ipToBigInt(networkAddress(range.network)) + size);
        t.is(ipToBigInt(range.max) + size - 1n, ipToBigInt(lastAddress(range.network)));
        t.true((ipToBigInt(range.max) - ipToBigInt(range.min)) / size >= 2n);
        t.true(rangeHolds(range, prefixOf(range.min, range.length)));
        t.true(rangeHolds(range, prefixOf(range.max, range.length)));
        t.false(rangeHolds(range, prefixOf(range.min, range.length + 1)));
        t.false(rangeHolds(range, prefixOf(networkAddress(range.network), range.length)));
      }
    }),
  );
});

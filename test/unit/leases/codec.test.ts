import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { ipFromBigInt, prefixOf } from '../../../config/address.ts';
import { TartanError } from '../../../config/errors.ts';
import {
  decodeLease,
  formatLeaseValue,
  leaseKey,
  leaseRange,
  parseLeaseKey,
  parseLeaseValue,
} from '../../../leases/codec.ts';
import type { LeaseAttributes } from '../../../leases/lease.ts';
import { ip, net, PREFIX } from './leases.ts';

const GOLDEN = readFileSync(new URL('../../../../test/golden/leases/values.tsv', import.meta.url), 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => line.split('\t'));

function attributes(change: Partial<LeaseAttributes> = {}): LeaseAttributes {
  const none = { backendData: undefined, backendV6Data: undefined, owner: undefined };
  return { publicIp: ip('192.168.77.10'), publicIp6: undefined, backendType: '', ...none, ...change };
}

for (const [name, key = '', value = ''] of GOLDEN) {
  test(`a lease of ${name} is read, and written byte for byte`, (t) => {
    const decoded = decodeLease(PREFIX, { key, value, createRevision: 3, modRevision: 4, lease: '5' });
    if (!decoded.ok) return t.fail(decoded.reason);
    t.is(formatLeaseValue(decoded.lease), value);
    t.is(leaseKey(PREFIX, decoded.lease), key);
    t.like(decoded.lease, { key, value, createRevision: 3, modRevision: 4, etcdLease: '5' });
    return undefined;
  });
}

test('every field is where it belongs', (t) => {
  const value =
    '{"PublicIP":"192.0.2.1","PublicIPv6":"fd77::10","BackendType":"vxlan","BackendData":{"VNI":1},' +
    '"BackendV6Data":{"VNI":2},"Tartan":{"node":"n","name":"h","claim":"c"}}';
  t.deepEqual(parseLeaseValue(value), {
    ok: true,
    attributes: {
      publicIp: ip('192.0.2.1'),
      publicIp6: ip('fd77::10'),
      backendType: 'vxlan',
      backendData: '{"VNI":1}',
      backendV6Data: '{"VNI":2}',
      owner: { node: 'n', name: 'h', claim: 'c' },
    },
  });
});

// The eleven that flannel's own tests refuse, then what flannel reads but never writes.
const BAD_NAMES = [
  ...['10', '10.12.13.0', '10.12.13-24', '10.12.13.300-24', '10.12.13.0-24hi', '&2001::-56'],
  ...['10.12.13.0-24&:12:13:-56', '10.12.13.0-24&20011::-56', '10.12.13.0-24&2001-56', '10.12.13.0-24&2001::'],
  ...['10.12.13.0-24&2001::-56hi', '10.12.13.0-32', '10.12.13.0-24&fd00::-128', '10.12.13.5-24', '10.12.13.0-024'],
  ...['10x12y13.0-24', '10.12.13.0-24&FD00::-56', '10.12.13.0-24&fd00:0::-56', '10.12.13.0-24&fd00::1-64'],
  ...['10.12.13.0-24&::ffff:a0c:d00-120', '10.12.13.0-24&::-64', '10.12.13.0-24&::a0c:d00-120', 'y/10.12.13.0-24'],
  ...['', ' 10.12.13.0-24', '10.12.13.0-24\n', '010.12.13.0-24', '10.12.13.0-4294967320', '10.12.13.0/24'],
];

for (const name of BAD_NAMES) {
  test(`${JSON.stringify(name)} is no lease key`, (t) => {
    t.false(parseLeaseKey(PREFIX, `${PREFIX}/subnets/${name}`).ok);
  });
}

test('only keys directly under the prefix count', (t) => {
  for (const key of ['10.5.1.0-24', '/other/subnets/10.5.1.0-24', `${PREFIX}/subnetsX/10.5.1.0-24`, `${PREFIX}/config`])
    t.false(parseLeaseKey(PREFIX, key).ok);
});

test('keys take the whole span of lengths', (t) => {
  for (const [v4, v6] of [
    ['0.0.0.0/0', 'fc00::/7'],
    ['128.0.0.0/1', '8000::/1'],
    ['10.5.1.0/31', 'fd00::2/127'],
  ] as const) {
    const subnets = { subnet: net(v4), subnet6: net(v6) };
    t.deepEqual(parseLeaseKey(PREFIX, leaseKey(PREFIX, subnets)), { ok: true, subnets });
  }
});

test('slashes of the prefix do not matter', (t) => {
  const subnets = { subnet: net('10.5.1.0/24'), subnet6: undefined };
  for (const prefix of ['/coreos.com/network', '/coreos.com/network/', '/coreos.com//network//'])
    t.is(leaseKey(prefix, subnets), '/coreos.com/network/subnets/10.5.1.0-24');
  t.true(parseLeaseKey('/coreos.com//network/', leaseKey(PREFIX, subnets)).ok);
  t.is(leaseKey('/', subnets), '/subnets/10.5.1.0-24');
  t.is(leaseKey('tenant', subnets), 'tenant/subnets/10.5.1.0-24');
});

test('the range of lease keys holds them and nothing beside them', (t) => {
  const { key, end } = leaseRange(`${PREFIX}/`);
  const holds = (name: string) => key <= name && name < end;
  t.true(holds(`${PREFIX}/subnets/10.5.1.0-24&fd00::-64`));
  for (const name of ['config', 'subnets', 'subnetsX/10.5.1.0-24', 'tartan/nodes/a'])
    t.false(holds(`${PREFIX}/${name}`));
});

test('keys go there and back', (t) => {
  const subnet = fc.tuple(fc.bigInt(0n, 2n ** 32n - 1n), fc.integer({ min: 0, max: 31 }));
  const subnet6 = fc.tuple(fc.bigInt(2n ** 112n, 2n ** 128n - 1n), fc.integer({ min: 16, max: 127 }));
  fc.assert(
    fc.property(subnet, fc.option(subnet6), (v4, v6) => {
      const subnets = {
        subnet: prefixOf(ipFromBigInt(v4[0], 4), v4[1]),
        subnet6: v6 ? prefixOf(ipFromBigInt(v6[0], 6), v6[1]) : undefined,
      };
      t.deepEqual(parseLeaseKey(PREFIX, leaseKey(PREFIX, subnets)), { ok: true, subnets });
    }),
  );
  t.pass();
});

test('a key that is read is the only spelling of its lease', (t) => {
  const name = fc.stringMatching(/^(10\.0?[0-9]\.[0-9]{1,2}\.0|[0-9.]{7,9})-[0-9]{1,3}(&[a-f0:]{2,9}-[0-9]{1,3})?$/);
  fc.assert(
    fc.property(name, (text) => {
      const key = `${PREFIX}/subnets/${text}`;
      const parsed = parseLeaseKey(PREFIX, key);
      return !parsed.ok || leaseKey(PREFIX, parsed.subnets) === key;
    }),
  );
  t.pass();
});

test('Go escapes what HTML could trip over, in every string', (t) => {
  const nasty = '<a>&\u2028\u2029"\\';
  const escaped = '\\u003ca\\u003e\\u0026\\u2028\\u2029\\"\\\\';
  const value = formatLeaseValue(
    attributes({
      backendType: nasty,
      backendData: JSON.stringify({ k: nasty }),
      owner: { node: nasty, name: nasty, claim: nasty },
    }),
  );
  t.is(
    value,
    `{"PublicIP":"192.168.77.10","PublicIPv6":null,"BackendType":"${escaped}","BackendData":{"k":"${escaped}"},` +
      `"Tartan":{"node":"${escaped}","name":"${escaped}","claim":"${escaped}"}}`,
  );
});

test('backend data is embedded compact, with its numbers and escapes as they were', (t) => {
  const backendData = ' { "a" : [ 1.0 , 12345678901234567890 ] ,\n "b c" : "x  \\" y\\u003c" } ';
  const value = formatLeaseValue(attributes({ backendData }));
  t.true(value.includes('"BackendData":{"a":[1.0,12345678901234567890],"b c":"x  \\" y\\u003c"}'));
});

test('backend data that is no JSON is a fault of ours', (t) => {
  const error = t.throws(() => formatLeaseValue(attributes({ backendData: '{' })), { instanceOf: TartanError });
  t.is(error.code, 'INTERNAL');
});

test('an empty value is a lease of 0.0.0.0, as in Go', (t) => {
  for (const text of ['{}', 'null', ' {} \n', '{"unknown":[1]}'])
    t.deepEqual(parseLeaseValue(text), { ok: true, attributes: attributes({ publicIp: ip('0.0.0.0') }) });
});

test('keys match whatever their case, the last one wins', (t) => {
  const parsed = parseLeaseValue(
    '{"PublicIP":"192.0.2.1","publicip":"192.168.77.10","BACKENDTYPE":"vxlan","tartan":{"Node":"n","CLAIM":"c"}}',
  );
  const owner = { node: 'n', name: '', claim: 'c' };
  t.deepEqual(parsed, { ok: true, attributes: attributes({ backendType: 'vxlan', owner }) });
});

test('null: none for a pointer, nothing for a string, itself for raw data', (t) => {
  const text = '{"PublicIP":"192.168.77.10","PublicIPv6":null,"BackendType":null,"BackendData":null,"Tartan":null}';
  t.deepEqual(parseLeaseValue(text), { ok: true, attributes: attributes({ backendData: 'null' }) });
});

const BAD_VALUES = [
  ...['', ' ', '[]', '1', '"x"', 'true', '{', '{"PublicIP":"192.0.2.1"} x', '\ufffd', '{"PublicIP":null}'],
  ...['{"PublicIP":""}', '{"PublicIP":"fd00::1"}', '{"PublicIP":"192.0.2.01"}', '{"PublicIP":"192.0.2.1/24"}'],
  ...['{"PublicIP":1}', '{"PublicIP":["192.0.2.1"]}', '{"PublicIP":"192.0.2.1","PublicIPv6":""}'],
  ...['{"PublicIP":"192.0.2.1","PublicIPv6":"192.0.2.1"}', '{"PublicIP":"192.0.2.1","PublicIPv6":1}'],
  ...['{"PublicIP":"192.0.2.1","PublicIPv6":"fe80::1%eth0"}', '{"PublicIP":"192.0.2.1","BackendType":1}'],
  ...['{"PublicIP":"192.0.2.1","BackendType":{}}', `{"PublicIP":"192.0.2.1","x":"${'x'.repeat(65_536)}"}`],
  `{"PublicIP":"192.0.2.1","BackendData":${'['.repeat(30_000)}${']'.repeat(30_000)}}`,
  `{"PublicIP":"192.0.2.1","BackendData":${'{"a":'.repeat(65)}1${'}'.repeat(65)}}`,
];

for (const text of BAD_VALUES) {
  test(`${JSON.stringify(text.slice(0, 60))} (${text.length}) is no lease`, (t) => {
    const parsed = parseLeaseValue(text);
    t.false(parsed.ok);
    if (!parsed.ok) t.true(parsed.reason.length < 200);
  });
}

test('brackets in strings do not nest', (t) => {
  t.true(parseLeaseValue(`{"PublicIP":"192.0.2.1","BackendData":"${'['.repeat(1000)}\\"${'{'.repeat(1000)}"}`).ok);
});

test('where packets come from is written and read with the owner, and nonsense counts as none', (t) => {
  const owner = { node: 'n', name: 'h', claim: 'c' };
  const text = (sources: string): string =>
    `{"PublicIP":"192.168.77.10","PublicIPv6":null,"Tartan":{"node":"n","name":"h","claim":"c"${sources}}}`;
  const attributesOf = (sources: string) => {
    const parsed = parseLeaseValue(text(sources));
    return parsed.ok ? parsed.attributes : parsed.reason;
  };
  const given = attributes({ owner, sources: [ip('10.0.0.7'), ip('fd77::7')] });
  t.is(formatLeaseValue(given), text(',"sources":["10.0.0.7","fd77::7"]'));
  t.deepEqual(attributesOf(',"sources":["10.0.0.7","fd77::7"]'), given);
  t.is(formatLeaseValue(attributes({ owner, sources: [] })), text(''));
  for (const bad of [
    '1',
    '[]',
    '[1]',
    '["x"]',
    '["127.0.0.1"]',
    '["10.0.0.7","224.0.0.1"]',
    '["10.0.0.1","10.0.0.2","10.0.0.3"]',
  ])
    t.deepEqual(attributesOf(`,"sources":${bad}`), attributes({ owner }), bad);
});

const BAD_OWNERS = [
  ...['1', '"x"', '[]', '{}', '{"node":"n"}', '{"claim":"c"}', '{"node":1,"claim":"c"}', '{"node":"","claim":"c"}'],
  ...[
    '{"node":"n","claim":"c","name":1}',
    `{"node":"${'n'.repeat(257)}","claim":"c"}`,
    '{"node":"a\\u001b[2J","claim":"c"}',
  ],
];

for (const owner of BAD_OWNERS) {
  test(`the owner ${owner.slice(0, 40)} counts as none`, (t) => {
    const parsed = parseLeaseValue(`{"PublicIP":"192.168.77.10","Tartan":${owner}}`);
    t.deepEqual(parsed, { ok: true, attributes: attributes() });
  });
}

test('whatever comes in, it is a lease or a reason', (t) => {
  const key = fc.oneof(fc.string({ unit: 'binary' }), fc.constant('10.5.1.0-24'), fc.string());
  const json = fc.oneof(
    fc.json(),
    fc.string({ unit: 'binary' }),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString()),
    fc
      .dictionary(fc.constantFrom('PublicIP', 'PublicIPv6', 'BackendType', 'BackendData', 'Tartan'), fc.jsonValue())
      .map((object) => JSON.stringify({ PublicIP: '192.0.2.1', ...object })),
  );
  fc.assert(
    fc.property(key, json, (name, value) => {
      const kv = { key: `${PREFIX}/subnets/${name}`, value, createRevision: 1, modRevision: 1, lease: '0' };
      const decoded = decodeLease(PREFIX, kv);
      if (decoded.ok) return parseLeaseValue(formatLeaseValue(decoded.lease)).ok;
      return decoded.reason !== '' && /^[ -~…]*$/.test(decoded.reason);
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

test('values go there and back', (t) => {
  const text = fc.string({ unit: 'grapheme', maxLength: 20 });
  const id = fc.stringMatching(/^[a-z0-9.-]{1,20}$/);
  const data = fc.option(
    fc.jsonValue({ maxDepth: 5 }).map((value) => JSON.stringify(value)),
    { nil: undefined },
  );
  const lease = fc.record({
    publicIp: fc.bigInt(0n, 2n ** 32n - 1n).map((value) => ipFromBigInt(value, 4)),
    publicIp6: fc.option(
      fc.bigInt(2n ** 64n, 2n ** 128n - 1n).map((value) => ipFromBigInt(value, 6)),
      { nil: undefined },
    ),
    backendType: text,
    backendData: data,
    backendV6Data: data,
    owner: fc.option(fc.record({ node: id, name: id, claim: id }), { nil: undefined }),
  });
  fc.assert(
    fc.property(lease, (value) => {
      t.deepEqual(parseLeaseValue(formatLeaseValue(value)), { ok: true, attributes: value });
    }),
  );
  t.pass();
});

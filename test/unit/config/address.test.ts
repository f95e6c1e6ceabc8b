import test from 'ava';
import fc from 'fast-check';
import {
  containsIp,
  containsPrefix,
  type Family,
  familyOf,
  ipFromBigInt,
  ipFromBytes,
  ipToBigInt,
  ipToBytes,
  isLinkLocal,
  lastAddress,
  macFromBytes,
  macFromRandom,
  macToBytes,
  networkAddress,
  notUnicast,
  notUnicastMac,
  offsetIp,
  overlaps,
  parseIp,
  parseIpOrPrefix,
  parseMac,
  parsePrefix,
  prefixLength,
  prefixOf,
  prefixSize,
} from '../../../config/address.ts';
import { ip, prefix } from '../../support/addresses.ts';

const canonical: readonly (readonly [text: string, value: string])[] = [
  ['0.0.0.0', '0.0.0.0'],
  ['255.255.255.255', '255.255.255.255'],
  ['10.5.66.1', '10.5.66.1'],
  ['::', '::'],
  ['::1', '::1'],
  ['FD00:5::A', 'fd00:5::a'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:0db8:0000:0001:0001:0001:0001:0001', '2001:db8:0:1:1:1:1:1'],
  ['0:0:0:1:0:0:0:0', '0:0:0:1::'],
  ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
  ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ['::ffff:10.1.2.3', '10.1.2.3'],
  ['::FFFF:a01:203', '10.1.2.3'],
];

for (const [text, value] of canonical)
  test(`${text} is the address ${value}`, (t) => t.is(parseIp(text)?.toString(), value));

const noAddresses = [
  '',
  ' ',
  '1',
  '1.2.3',
  '1.2.3.4.5',
  '1.2.3.',
  '.1.2.3',
  '1..2.3',
  '01.2.3.4',
  '1.2.3.00',
  '256.1.1.1',
  '1.2.3.4 ',
  ' 1.2.3.4',
  '1.2.3.-4',
  '1.2.3.0x4',
  '1.2.3.4/24',
  '٣.2.3.4',
  ':',
  ':::',
  '1::2::3',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7:8::',
  '12345::',
  'g::',
  'fe80::1%eth0',
  '::1.2.3',
  '::1.2.3.4:5',
  '1.2.3.4::',
  '1:2:3:4:5:6:7:1.2.3.4',
  '[::1]',
];

for (const text of noAddresses) test(`"${text}" is no address`, (t) => t.is(parseIp(text), undefined));

const prefixes: readonly (readonly [text: string, value: string | undefined])[] = [
  ['10.5.66.1/24', '10.5.66.0/24'],
  ['255.255.255.255/1', '128.0.0.0/1'],
  ['10.1.2.3/0', '0.0.0.0/0'],
  ['10.1.2.3/32', '10.1.2.3/32'],
  ['fd00:5:0:12::1/64', 'fd00:5:0:12::/64'],
  ['fd00::ffff/127', 'fd00::fffe/127'],
  ['ffff::/0', '::/0'],
  ['10.1.2.3', undefined],
  ['10.1.2.3/', undefined],
  ['10.1.2.3/33', undefined],
  ['10.1.2.3/024', undefined],
  ['10.1.2.3/-1', undefined],
  ['10.1.2.3/2 4', undefined],
  ['10.1.2/24', undefined],
  ['/24', undefined],
  ['fd00::/129', undefined],
  ['::ffff:10.1.2.0/120', undefined],
  ['10.1.2.3/24/8', undefined],
];

for (const [text, value] of prefixes)
  test(`${text} is the prefix ${value}`, (t) => t.is(parsePrefix(text)?.toString(), value));

test('a hardware address is read with colons or dashes, whatever its case', (t) => {
  t.is(parseMac('02:42:AC:11:00:02'), parseMac('02-42-ac-11-00-02'));
  t.is(parseMac('02:42:AC:11:00:02')?.toString(), '02:42:ac:11:00:02');
  for (const text of [
    '',
    '02:42:ac:11:00',
    '02:42:ac:11:00:02:03',
    '2:42:ac:11:00:02',
    '02:42-ac:11:00:02',
    '0242ac110002',
  ]) {
    t.is(parseMac(text), undefined, text);
  }
});

test('a hardware address of a group or of nobody belongs to no station', (t) => {
  const why = (bytes: number[]) => notUnicastMac(macFromBytes(Uint8Array.from(bytes)));
  t.is(why([2, 0, 0, 0, 0, 1]), undefined);
  t.truthy(why([0, 0, 0, 0, 0, 0]));
  t.truthy(why([1, 0, 0x5e, 0, 0, 1]));
  t.truthy(why([255, 255, 255, 255, 255, 255]));
});

const unicast: readonly (readonly [text: string, isUnicast: boolean])[] = [
  ['10.1.2.3', true],
  ['223.255.255.255', true],
  ['169.254.1.1', true],
  ['0.1.2.3', false],
  ['127.0.0.1', false],
  ['224.0.0.1', false],
  ['240.0.0.1', false],
  ['255.255.255.255', false],
  ['fd00::1', true],
  ['fe80::1', true],
  ['ff::1', true],
  ['::', false],
  ['::1', false],
  ['ff02::1', false],
];

for (const [text, isUnicast] of unicast) {
  test(`${text} is ${isUnicast ? 'an' : 'no'} address that a host can have`, (t) => {
    t.is(notUnicast(ip(text)) === undefined, isUnicast);
  });
}

test('link-local is 169.254.0.0/16 and fe80::/10', (t) => {
  const found = ['169.254.0.1', '169.25.4.1', 'fe80::1', 'febf::1', 'fec0::1', 'fe8::1'].filter((text) =>
    isLinkLocal(ip(text)),
  );
  t.deepEqual(found, ['169.254.0.1', 'fe80::1', 'febf::1']);
});

test('an address moves within its family only', (t) => {
  t.is(offsetIp(ip('10.5.66.0'), 1n)?.toString(), '10.5.66.1');
  t.is(offsetIp(ip('255.255.255.255'), 1n), undefined);
  t.is(offsetIp(ip('0.0.0.0'), -1n), undefined);
  t.is(offsetIp(ip('ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'), 1n), undefined);
});

test('a number outside the family is refused', (t) => {
  t.throws(() => ipFromBigInt(1n << 32n, 4), { instanceOf: RangeError });
  t.throws(() => ipFromBigInt(-1n, 6), { instanceOf: RangeError });
});

test('bytes are an address when there are 4 or 16 of them', (t) => {
  t.is(ipFromBytes(new Uint8Array(5)), undefined);
  t.is(ipFromBytes(new Uint8Array(0)), undefined);
  t.is(ipFromBytes(Uint8Array.from([10, 5, 66, 1]))?.toString(), '10.5.66.1');
});

const family = fc.constantFrom<Family>(4, 6);
/** IPv4-mapped addresses are left out: as text they are IPv4 addresses. */
const anyIp = family.chain((of) => {
  return fc
    .bigInt({ min: 0n, max: (1n << (of === 4 ? 32n : 128n)) - 1n })
    .filter((value) => of === 4 || value >> 32n !== 0xffffn)
    .map((value) => ipFromBigInt(value, of));
});
const anyPrefix = anyIp.chain((of) =>
  fc.integer({ min: 0, max: familyOf(of) === 4 ? 32 : 128 }).map((n) => prefixOf(of, n)),
);

test('an address survives text, number and bytes', (t) => {
  fc.assert(
    fc.property(anyIp, (value) => {
      t.is(parseIp(value), value);
      t.is(parseIp(value.toUpperCase()), value);
      t.is(ipFromBigInt(ipToBigInt(value), familyOf(value)), value);
      t.is(ipFromBytes(ipToBytes(value)), value);
    }),
  );
});

test('a prefix survives text, and holds exactly what lies between its ends', (t) => {
  fc.assert(
    fc.property(anyPrefix, anyIp, (range, other) => {
      t.is(parsePrefix(range), range);
      t.is(prefixOf(networkAddress(range), prefixLength(range)), range);
      t.is(ipToBigInt(lastAddress(range)) - ipToBigInt(networkAddress(range)) + 1n, prefixSize(range));
      const value = ipToBigInt(other);
      const between = ipToBigInt(networkAddress(range)) <= value && value <= ipToBigInt(lastAddress(range));
      t.is(containsIp(range, other), familyOf(range) === familyOf(other) && between);
    }),
  );
});

test('two prefixes overlap when one contains the other', (t) => {
  t.true(overlaps(prefix('10.5.0.0/16'), prefix('10.5.9.0/24')));
  t.true(overlaps(prefix('10.5.9.0/24'), prefix('10.5.0.0/16')));
  t.false(overlaps(prefix('10.5.8.0/24'), prefix('10.5.9.0/24')));
  t.false(overlaps(prefix('0.0.0.0/0'), prefix('::/0')));
  t.false(containsPrefix(prefix('10.5.9.0/24'), prefix('10.5.0.0/16')));
  fc.assert(fc.property(anyPrefix, (range) => t.true(containsPrefix(range, range))));
});

test('a hardware address survives bytes, and a random one is a local station', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
      const mac = macFromBytes(bytes);
      t.is(parseMac(mac), mac);
      t.deepEqual([...macToBytes(mac)], [...bytes]);
      const random = macFromRandom(bytes);
      t.is(notUnicastMac(random), undefined);
      t.is((macToBytes(random)[0] ?? 0) & 3, 2);
    }),
  );
});

test('no text makes the parsers throw, and what they take is canonical', (t) => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-fA-F:./]{0,48}$/));
  fc.assert(
    fc.property(text, (value) => {
      const parsed = parseIp(value);
      if (parsed !== undefined) t.is(parseIp(parsed), parsed);
      const range = parsePrefix(value);
      if (range !== undefined) t.is(parsePrefix(range), range);
      parseMac(value);
    }),
    { numRuns: 2000 },
  );
});

test('an address alone is a prefix that holds nothing else', (t) => {
  const texts = ['10.5.0.7', 'FD00::7', '10.5.0.7/16', '10.5'];
  t.deepEqual(texts.map(parseIpOrPrefix).map(String), ['10.5.0.7/32', 'fd00::7/128', '10.5.0.0/16', 'undefined']);
});

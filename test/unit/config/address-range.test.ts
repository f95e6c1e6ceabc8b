/** Ranges beside the same questions asked of the texts. */
import test from 'ava';
import fc from 'fast-check';
import {
  containsIp,
  containsPrefix,
  type Ip,
  ipFromBigInt,
  overlaps,
  type Prefix,
  prefixOf,
} from '../../../config/address.ts';
import { contains, overlap, pointOf, rangeOf } from '../../../config/address-range.ts';

/** Few of them are far apart. */
const ip: fc.Arbitrary<Ip> = fc.oneof(
  fc.tuple(fc.constantFrom(0n, 10n, 172n, 255n), fc.bigInt(0n, 3n)).map(([a, b]) => ipFromBigInt((a << 24n) + b, 4)),
  fc.bigInt(0n, 2n ** 32n - 1n).map((value) => ipFromBigInt(value, 4)),
  fc.bigInt(0n, 2n ** 128n - 1n).map((value) => ipFromBigInt(value, 6)),
  fc.bigInt(0n, 3n).map((value) => ipFromBigInt((0xfdn << 120n) + value, 6)),
);
const prefix: fc.Arbitrary<Prefix> = fc
  .tuple(ip, fc.nat(128))
  .map(([address, length]) => prefixOf(address, address.includes(':') ? length : length % 33));

test('contains and overlaps as prefixes do', (t) => {
  fc.assert(
    fc.property(prefix, prefix, ip, (a, b, address) => {
      t.is(contains(rangeOf(a), rangeOf(b)), containsPrefix(a, b));
      t.is(overlap(rangeOf(a), rangeOf(b)), overlaps(a, b));
      t.is(contains(rangeOf(a), pointOf(address)), containsIp(a, address));
    }),
    { numRuns: 1000 },
  );
});

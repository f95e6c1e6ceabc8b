import test from 'ava';
import { clearTable, homeOf, MAC, SOURCE6, SUBNET4 } from '../../../../backends/data-path/core/peer-table.ts';

const NEAR = 64;
const KEYS = 400;

type Words = readonly [number, number, number, number];

/** Keys that anybody who writes leases can choose. */
const KINDS: readonly (readonly [string, number, (i: number) => Words])[] = [
  ['IPv4 subnets', SUBNET4 + 24, (i) => [i, 0, 0, 0]],
  ['MACs', MAC, (i) => [2 + ((i & 0xff) << 8), i >>> 8, 0, 0]],
  ['IPv6 sources, by their last word', SOURCE6, (i) => [0xfd, 0, 0, i]],
  ['IPv6 sources, by their first word', SOURCE6, (i) => [i, 0, 0, 0x01000000]],
];

function home(kind: number, words: Words): number {
  return homeOf(kind, ...words);
}

for (const [what, kind, key] of KINDS) {
  test(`keys that collide with one seed do not with another: ${what}`, (t) => {
    clearTable(1);
    const colliding: Words[] = [];
    for (let i = 0; colliding.length < KEYS; i++) if (home(kind, key(i)) < NEAR) colliding.push(key(i));
    for (const seed of [0, 2, 3, -1, 0x7fffffff, -0x80000000, 0x12345678]) {
      clearTable(seed);
      const homes = colliding.map((words) => home(kind, words));
      t.true(new Set(homes).size > KEYS * 0.98, `${seed}`);
      t.true(homes.filter((slot) => slot < NEAR).length < 5, `${seed}`);
    }
  });
}

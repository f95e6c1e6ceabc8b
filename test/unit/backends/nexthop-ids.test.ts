import test from 'ava';
import fc from 'fast-check';
import { NexthopIds } from '../../../backends/nexthop-ids.ts';
import { isTartanId, NEXTHOP_IDS } from '../../../backends/ownership.ts';
import type { Nexthop } from '../../../backends/state.ts';
import type { Ip } from '../../../config/address.ts';
import { found, ip, prefix } from './values.ts';

const POLICY = { networks: [prefix('10.5.0.0/16')], devices: new Set(['flannel.1']) };
const DEV = 'flannel.1';
const first = NEXTHOP_IDS.first;
const A = ip('10.5.72.0');
const B = ip('10.5.73.0');

function hop(id: number, change: Partial<Nexthop> = {}): Nexthop {
  return { kind: 'nexthop', id, dev: DEV, gateway: A, onlink: true, ...change };
}

test('the same gateway has the same id, on a host that never saw it too', (t) => {
  const ids = new NexthopIds([], [], POLICY);
  const id = ids.idFor(A, DEV);
  t.true(isTartanId(id));
  t.is(ids.idFor(A, DEV), id);
  t.not(ids.idFor(B, DEV), id);
  t.not(ids.idFor(A, 'flannel.2'), id);
  t.is(new NexthopIds([], [], POLICY).idFor(A, DEV), id);
});

test('what the kernel has is kept', (t) => {
  const ids = new NexthopIds([found(hop(first + 7))], [first + 7], POLICY);
  t.is(ids.idFor(A, DEV), first + 7);
});

test('of two objects for one gateway the lower id is used, the other one avoided until it is gone', (t) => {
  const ids = new NexthopIds([found(hop(first + 9)), found(hop(first + 7))], [], POLICY);
  t.is(ids.idFor(A, DEV), first + 7);
});

test('objects that are not ours, or not onlink, are no source of ids', (t) => {
  const foreign = found(hop(first + 7), { protocol: 3 });
  const offlink = found(hop(first + 8, { onlink: false }));
  const id = new NexthopIds([foreign, offlink], [first + 7, first + 8, 5], POLICY).idFor(A, DEV);
  t.false([first + 7, first + 8, 5].includes(id));
});

test('a taken place is passed over, round the end of the range', (t) => {
  const empty = new NexthopIds([], [], POLICY);
  const gateways = Array.from({ length: 65536 }, (_, i) => ip(`10.5.${i >> 8}.${i & 255}`));
  const gateway = gateways.find((candidate) => empty.idFor(candidate, DEV) > NEXTHOP_IDS.last - 5000) ?? A;
  const place = empty.idFor(gateway, DEV);
  const rest = Array.from({ length: NEXTHOP_IDS.last - place + 1 }, (_, i) => place + i);
  t.true(rest.length <= 5000);
  t.is(new NexthopIds([], rest.slice(0, 2), POLICY).idFor(gateway, DEV), place + 2);
  t.is(new NexthopIds([], rest, POLICY).idFor(gateway, DEV), first);
});

test("a released id is nobody else's until the kernel let go of the object", (t) => {
  const place = new NexthopIds([], [], POLICY).idFor(B, DEV);
  const ids = new NexthopIds([found(hop(place))], [], POLICY);
  t.is(ids.idFor(A, DEV), place);
  t.is(ids.release(A, DEV), place);
  t.not(ids.idFor(B, DEV), place);
  const other = ids.release(B, DEV);
  ids.freed(other ?? 0);
  ids.freed(place);
  t.is(ids.idFor(B, DEV), place);
});

test('a gateway that comes back before its object is gone keeps the id, and a late deletion does not free it', (t) => {
  const ids = new NexthopIds([], [], POLICY);
  const id = ids.idFor(A, DEV);
  ids.release(A, DEV);
  t.is(ids.idFor(A, DEV), id);
  ids.freed(id);
  t.is(ids.idFor(A, DEV), id);
});

test('what was found and is wanted by nobody is free once it is swept', (t) => {
  const place = new NexthopIds([], [], POLICY).idFor(B, DEV);
  const ids = new NexthopIds([found(hop(place))], [place], POLICY);
  ids.freed(place);
  t.is(ids.idFor(B, DEV), place);
});

test('in conflict the gateway gets another id', (t) => {
  const ids = new NexthopIds([], [], POLICY);
  const id = ids.idFor(A, DEV);
  ids.avoid(id);
  t.not(ids.idFor(A, DEV), id);
  t.not(ids.idFor(B, DEV), id);
  t.is(ids.release(B, 'flannel.9'), undefined);
});

test('no two gateways in use ever share an id', (t) => {
  const step = fc.tuple(
    fc.constantFrom<'idFor' | 'release' | 'freed' | 'avoid'>('idFor', 'release', 'freed', 'avoid'),
    fc.integer({ min: 0, max: 5 }),
  );
  const holds = fc.property(fc.array(step), (steps) => {
    const ids = new NexthopIds([], [], POLICY);
    const inUse = new Map<string, number>();
    const last = new Map<string, number>();
    const verbs = {
      idFor: (gateway: Ip) => inUse.set(gateway, ids.idFor(gateway, DEV)),
      release: (gateway: Ip) => inUse.delete(gateway) && ids.release(gateway, DEV),
      freed: (gateway: Ip) => ids.freed(last.get(gateway) ?? 0),
      avoid: (gateway: Ip) => {
        const id = last.get(gateway) ?? 0;
        for (const [other, held] of inUse) if (held === id) inUse.delete(other);
        ids.avoid(id);
      },
    };
    for (const [verb, n] of steps) {
      verbs[verb](ip(`10.5.${n}.0`));
      for (const [gateway, held] of inUse) {
        last.set(gateway, held);
        if (ids.idFor(ip(gateway), DEV) !== held) return false;
      }
      if (new Set(inUse.values()).size !== inUse.size) return false;
    }
    return true;
  });
  t.notThrows(() => fc.assert(holds));
});

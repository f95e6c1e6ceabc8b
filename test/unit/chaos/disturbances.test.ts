import test from 'ava';
import { Disturbances, type Lessee, type Said } from '../../chaos/disturbances.ts';

const WELL = { isReady: true, isInStep: true, isConnected: true };

function said(askedAt: number, peers: Readonly<Record<string, string>> = {}): Said {
  return { ...WELL, askedAt, answeredAt: askedAt + 10, peers: new Map(Object.entries(peers)) };
}

const leasing =
  (subnet: string | undefined) =>
  (name: string): Lessee => ({ name, ip: `ip of ${name}`, subnet });
const nobody = leasing(undefined);

/** Once does not count. */
function heardTwice(all: Disturbances, judge: string, what: Said, leased: (name: string) => Lessee): void {
  all.heard(judge, what, leased);
  all.heard(judge, what, leased);
}

test('where nothing is broken, nothing may be lost', (t) => {
  t.is(new Disturbances().excuse('a', 'b', 10_000), undefined);
});

test("a fault on a host excuses that host's packets, until its agent says that all is well", (t) => {
  const all = new Disturbances();
  all.begin({ why: 'route deleted', hosts: ['a'], judge: 'a', at: 10_000 });
  t.is(all.excuse('a', 'b', 10_500), 'route deleted');
  t.is(all.excuse('b', 'a', 10_500), 'route deleted');
  t.is(all.excuse('b', 'c', 10_500), undefined);
  t.is(all.excuse('a', 'b', 7_000), undefined);
  heardTwice(all, 'b', said(12_000), nobody);
  heardTwice(all, 'a', { ...said(12_000), isInStep: false }, nobody);
  t.is(all.excuse('a', 'b', 12_500), 'route deleted');
  heardTwice(all, 'a', said(13_000), nobody);
  t.is(all.excuse('a', 'b', 13_500), undefined);
  t.is(all.excuse('a', 'b', 12_500), 'route deleted');
});

test('an agent has to say twice that all is well, without a no between', (t) => {
  const all = new Disturbances();
  all.begin({ why: 'route deleted', hosts: ['a'], judge: 'a', at: 10_000 });
  all.heard('a', said(12_000), nobody);
  all.heard('a', { ...said(12_300), isInStep: false }, nobody);
  all.heard('a', said(12_600), nobody);
  t.is(all.open.length, 1);
  all.heard('a', said(12_900), nobody);
  t.is(all.excuse('a', 'b', 12_905), 'route deleted');
  t.is(all.excuse('a', 'b', 12_915), undefined);
});

test('an agent that was asked before the fault could be seen does not end it', (t) => {
  const all = new Disturbances();
  all.begin({ why: 'route deleted', hosts: ['a'], judge: 'a', at: 10_000 });
  heardTwice(all, 'a', said(10_500), nobody);
  t.is(all.open.length, 1);
});

test('a fault that lasts is not over before it is lifted', (t) => {
  const all = new Disturbances();
  const one = all.begin({ why: 'unplugged', hosts: ['a'], judge: 'a', at: 10_000, lasts: true });
  heardTwice(all, 'a', said(20_000), nobody);
  t.is(all.open.length, 1);
  one.over = 20_000;
  heardTwice(all, 'a', said(21_000), nobody);
  t.is(all.open.length, 0);
});

test('a change of a lease excuses the pair, until the other one has what etcd has', (t) => {
  const all = new Disturbances();
  all.begin({ why: 'lease of a', hosts: ['a', 'b'], judge: 'b', lessee: 'a', at: 10_000 });
  t.is(all.excuse('b', 'a', 10_500), 'lease of a');
  t.is(all.excuse('a', 'c', 10_500), undefined);
  heardTwice(all, 'b', said(12_000, { 'ip of a': 'old' }), leasing('new'));
  heardTwice(all, 'b', { ...said(12_000, { 'ip of a': 'new' }), isConnected: false }, leasing('new'));
  t.is(all.open.length, 1);
  heardTwice(all, 'b', said(13_000, { 'ip of a': 'new' }), leasing('new'));
  t.is(all.open.length, 0);
});

test('a host without a lease is excused as long as it has none', (t) => {
  const all = new Disturbances();
  all.begin({ why: 'lease of a', hosts: ['a', 'b'], judge: 'b', lessee: 'a', at: 10_000 });
  heardTwice(all, 'b', said(12_000), nobody);
  t.is(all.excuse('a', 'b', 20_000), 'lease of a');
});

test('what ended long ago is forgotten, what lasts is not', (t) => {
  const all = new Disturbances();
  all.begin({ why: 'one', hosts: ['a'], judge: 'a', at: 10_000 });
  all.begin({ why: 'two', hosts: ['b'], judge: 'b', at: 10_000 });
  heardTwice(all, 'a', said(12_000), nobody);
  all.forget(20_000);
  t.is(all.excuse('a', 'c', 11_000), undefined);
  t.is(all.excuse('b', 'c', 11_000), 'two');
});

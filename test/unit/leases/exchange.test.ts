import test from 'ava';
import { leaves, offerOf, parseOffer, traded, tradesOf } from '../../../leases/exchange.ts';
import type { Addresses } from '../../../leases/identity.ts';
import { ip } from './leases.ts';

function at(publicIp: string, publicIp6?: string): Addresses {
  return { publicIp: ip(publicIp), publicIp6: publicIp6 === undefined ? undefined : ip(publicIp6) };
}

test('of each family what is wanted goes, and what is left comes; the rest stays', (t) => {
  const cases: readonly [held: Addresses, asker: Addresses, wants: Addresses, after: Addresses | undefined][] = [
    [at('192.0.2.2'), at('192.0.2.1'), at('192.0.2.2'), at('192.0.2.1')],
    [at('192.0.2.2'), at('192.0.2.1'), at('192.0.2.3'), undefined],
    [at('192.0.2.2', 'fd00::2'), at('192.0.2.1', 'fd00::1'), at('192.0.2.2', 'fd00::2'), at('192.0.2.1', 'fd00::1')],
    [at('192.0.2.2', 'fd00::2'), at('192.0.2.1', 'fd00::1'), at('192.0.2.2', 'fd00::1'), at('192.0.2.1', 'fd00::2')],
    [at('192.0.2.2', 'fd00::2'), at('192.0.2.1', 'fd00::1'), at('192.0.2.1', 'fd00::2'), at('192.0.2.2', 'fd00::1')],
    // The 0.0.0.0 of hosts without IPv4 is nobody's.
    [at('0.0.0.0', 'fd00::2'), at('0.0.0.0', 'fd00::1'), at('0.0.0.0', 'fd00::2'), at('0.0.0.0', 'fd00::1')],
    [at('0.0.0.0'), at('192.0.2.1'), at('0.0.0.0'), undefined],
    // Nothing to give.
    [at('192.0.2.2', 'fd00::2'), at('192.0.2.1'), at('192.0.2.1', 'fd00::2'), undefined],
    [at('192.0.2.2'), at('0.0.0.0'), at('192.0.2.2'), undefined],
    [at('192.0.2.2'), at('192.0.2.2'), at('192.0.2.2'), undefined],
  ];
  for (const [held, asker, wants, after] of cases) {
    const trades = tradesOf(held, offerOf(asker, wants));
    t.deepEqual(trades && traded(held, trades), after, JSON.stringify([held, asker, wants]));
  }
});

test('only who leaves all that is taken agrees', (t) => {
  const trades = tradesOf(at('192.0.2.2', 'fd00::2'), offerOf(at('192.0.2.1', 'fd00::1'), at('192.0.2.2', 'fd00::2')));
  t.is(trades?.length, 2);
  t.true(leaves(at('192.0.2.9', 'fd00::9'), trades ?? []));
  t.false(leaves(at('192.0.2.2', 'fd00::9'), trades ?? []));
  t.false(leaves(at('192.0.2.9', 'fd00::2'), trades ?? []));
});

test('an offer crosses etcd as JSON; what makes no sense is none', (t) => {
  const offer = offerOf(at('192.0.2.1', 'fd00::1'), at('192.0.2.2', 'fd00::1'));
  t.deepEqual(parseOffer(JSON.parse(JSON.stringify(offer))), offer);
  for (const bad of [undefined, null, 1, 'x', [], {}, { wants: {} }, { wants: [], gives: {} }]) {
    t.is(parseOffer(bad), undefined, JSON.stringify(bad));
  }
  const strange = parseOffer({ wants: { publicIp: 'fd00::1' }, gives: { publicIp: 5, publicIp6: '192.0.2.1' } });
  t.deepEqual(strange, {
    wants: { publicIp: undefined, publicIp6: undefined },
    gives: { publicIp: undefined, publicIp6: undefined },
  });
});

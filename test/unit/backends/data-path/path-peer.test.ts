import test from 'ava';
import { isSamePeer, type PathPeer } from '../../../../backends/data-path/path-peer.ts';
import { ip, mac, prefix } from '../../../support/addresses.ts';

const PEER: PathPeer = {
  endpoint: ip('192.0.2.1'),
  sources: [ip('192.0.2.1')],
  subnets: [prefix('10.5.1.0/24')],
  mac: mac('02:00:00:00:00:01'),
};

test('a peer of the same values is the same', (t) => {
  t.true(isSamePeer(PEER, { ...PEER, sources: [...PEER.sources], subnets: [...PEER.subnets] }));
});

for (const [what, change] of Object.entries<Partial<PathPeer>>({
  endpoint: { endpoint: ip('192.0.2.2') },
  mac: { mac: undefined },
  'a source more': { sources: [ip('192.0.2.1'), ip('192.0.2.9')] },
  'another source': { sources: [ip('192.0.2.9')] },
  'no subnet': { subnets: [] },
})) {
  test(`another one by: ${what}`, (t) => {
    t.false(isSamePeer(PEER, { ...PEER, ...change }));
    t.false(isSamePeer({ ...PEER, ...change }, PEER));
  });
}

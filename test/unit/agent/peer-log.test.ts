import test from 'ava';
import { PeerLog } from '../../../agent/peer-log.ts';
import { silentLog } from '../../../config/log.ts';
import { decodeLease } from '../../../leases/codec.ts';
import type { PeerChange } from '../../../leases/directory.ts';
import { settle, VirtualClock } from '../../fakes/clock.ts';

const PREFIX = '/coreos.com/network';

function joined(index: number): PeerChange {
  const key = `${PREFIX}/subnets/10.5.${index}.0-24`;
  const value = `{"PublicIP":"192.0.2.${index}","PublicIPv6":null}`;
  const decoded = decodeLease(PREFIX, { key, value, createRevision: 1, modRevision: 1, lease: '1' });
  if (!decoded.ok) throw new Error(decoded.reason);
  return { key, before: undefined, after: decoded.lease };
}

test('peers are named; of a flock, however it comes, only the count; and nothing goes unsaid', async (t) => {
  const lines: string[] = [];
  const clock = new VirtualClock();
  const ending = new AbortController();
  const peers = new PeerLog({
    ...silentLog,
    info: (message, fields) => lines.push(`${message} ${fields?.['of'] ?? ''}`),
  });
  const running = peers.run(clock, ending.signal).catch(() => undefined);
  peers.add([joined(1)]);
  await clock.advance(1_000);
  t.deepEqual(lines.splice(0), ['a peer appeared ']);
  for (let i = 0; i < 30; i++) peers.add([joined(i)]);
  await clock.advance(1_000);
  t.deepEqual(lines.splice(0), ['peers changed 30']);
  peers.add([{ ...joined(2), before: joined(2).after, after: undefined }]);
  await settle();
  ending.abort();
  await running;
  t.deepEqual(lines, ['a peer left ']);
});

import test from 'ava';
import fc from 'fast-check';
import { parseMessages } from '../../../../backends/kernel/message.ts';
import { MessageWriter } from '../../../../backends/kernel/message-writer.ts';
import { routeFilter } from '../../../../backends/kernel/route-filter.ts';
import { encodeRoute } from '../../../../backends/kernel/route-message.ts';
import { containsPrefix, type Ip, type Prefix, parseIp, prefixOf } from '../../../../config/address.ts';
import { ip, prefix } from '../values.ts';

/** The body of a message about such a route, as the kernel sends them. */
function body(dst: Prefix, nexthopId?: number): Buffer {
  const writer = new MessageWriter(256);
  writer.reset(1);
  const gateway = ip(dst.includes(':') ? 'fd00::1' : '192.0.2.1');
  encodeRoute(writer, 'set', { kind: 'route', dst, dev: 'eth0', gateway, onlink: false, nexthopId }, 1);
  const [message] = parseMessages(writer.bytes());
  if (!message) throw new Error('nothing written');
  return message.body;
}

/** Addresses that often share their first bits. */
const addresses = fc
  .tuple(fc.boolean(), fc.constantFrom(0, 1, 128, 255), fc.constantFrom(0, 1, 127, 128, 255))
  .map(([isIp4, a, b]): Ip => parseIp(isIp4 ? `10.${a}.${b}.1` : `fd00:${a}:${b}::1`) ?? ip('10.0.0.1'));
const prefixes = fc
  .tuple(addresses, fc.nat(128))
  .map(([address, length]) => prefixOf(address, address.includes(':') ? length : length % 33));

test('it keeps what lies in one of the networks, and nothing else', (t) => {
  fc.assert(
    fc.property(fc.array(prefixes, { maxLength: 3 }), prefixes, (networks, dst) => {
      const isWithin = networks.some((network) => containsPrefix(network, dst));
      t.is(routeFilter(networks)(body(dst)), isWithin, `${dst} in ${networks}`);
    }),
    { numRuns: 2_000 },
  );
});

test('whatever is on a nexthop object of our range is kept: the object must not go', (t) => {
  const isWanted = routeFilter([prefix('10.5.0.0/16')]);
  t.true(isWanted(body(prefix('198.51.100.0/24'), 0x54000001)));
  t.false(isWanted(body(prefix('198.51.100.0/24'), 7)));
});

test('no bytes make it throw', (t) => {
  const isWanted = routeFilter([prefix('10.5.0.0/16'), prefix('fd00::/8')]);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void isWanted(Buffer.from(bytes))));
  t.pass();
});

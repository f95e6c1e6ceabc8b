import test from 'ava';
import { parseSocketAddress, socketAddress } from '../../../../backends/kernel/socket-address.ts';
import { ip } from '../../../support/addresses.ts';

test('an IPv4 address is 16 bytes, the port in network order', (t) => {
  t.is(socketAddress(ip('192.0.2.7'), 8285).toString('hex'), '0200205dc00002070000000000000000');
});

test('an IPv6 address is 28 bytes', (t) => {
  const hex = '0a00205d00000000fd00000000000000000000000000000100000000';
  t.is(socketAddress(ip('fd00::1'), 8285).toString('hex'), hex);
});

for (const address of ['192.0.2.7', '255.255.255.255', 'fd00::1', '::1']) {
  test(`${address} comes back as it went`, (t) => {
    t.deepEqual(parseSocketAddress(socketAddress(ip(address), 65535)), { ip: ip(address), port: 65535 });
  });
}

test('what is too short or of another family is none', (t) => {
  t.is(parseSocketAddress(Buffer.alloc(0)), undefined);
  t.is(parseSocketAddress(socketAddress(ip('192.0.2.7'), 1).subarray(0, 15)), undefined);
  t.is(parseSocketAddress(socketAddress(ip('fd00::1'), 1).subarray(0, 27)), undefined);
  t.is(parseSocketAddress(Buffer.alloc(28)), undefined);
});

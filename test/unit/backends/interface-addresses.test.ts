import test from 'ava';
import { usableAddresses } from '../../../backends/interface-addresses.ts';
import { ip } from './values.ts';

const PLAIN = { dev: 'eth0', length: 64, permanent: true, temporary: false, deprecated: false };

test('global before link-local, permanent before dynamic, lasting before temporary, else as found', (t) => {
  const addresses = [
    { ...PLAIN, ip: ip('fe80::1') },
    { ...PLAIN, ip: ip('fd00::1'), permanent: false, temporary: true },
    { ...PLAIN, ip: ip('fd00::2'), permanent: false },
    { ...PLAIN, ip: ip('fd00::3'), temporary: true },
    { ...PLAIN, ip: ip('fd00::4') },
    { ...PLAIN, ip: ip('fd00::5') },
  ];
  t.deepEqual(
    usableAddresses(addresses, 'eth0', 6),
    [4, 5, 3, 2, 1].map((n) => ip(`fd00::${n}`)).concat(ip('fe80::1')),
  );
});

test('deprecated ones, other devices, other families, what is not unicast', (t) => {
  const addresses = [
    { ...PLAIN, ip: ip('fd00::1'), deprecated: true },
    { ...PLAIN, ip: ip('fd00::2'), dev: 'eth1' },
    { ...PLAIN, ip: ip('10.0.0.1') },
    { ...PLAIN, ip: ip('::1') },
  ];
  t.deepEqual(usableAddresses(addresses, 'eth0', 6), []);
});

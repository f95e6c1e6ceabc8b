import test from 'ava';
import { createAlloc } from '../../../../backends/alloc/alloc.ts';
import { backendOf, DUAL, FAR, ip, lease, MACS, OWN, UNDERLAY } from '../values.ts';

const alloc = backendOf(createAlloc({}, DUAL, UNDERLAY));

test('a lease without backend type and IPv6 attributes, as flannel writes it', (t) => {
  t.deepEqual(alloc.advertise(MACS), {
    publicIp: ip('192.168.77.10'),
    publicIp6: undefined,
    backendType: '',
    backendData: undefined,
    backendV6Data: undefined,
  });
});

test('nothing in the kernel', (t) => {
  t.deepEqual([alloc.devices, alloc.device(OWN, MACS), alloc.mtuBytes], [[], [], 1500]);
  t.deepEqual(alloc.peer(lease(72), FAR), { objects: [] });
  t.is(alloc.publishedMac(lease(72), 'flannel.1'), undefined);
  t.deepEqual(alloc.claim(lease(72, { backendType: '' })), { identities: [] });
});

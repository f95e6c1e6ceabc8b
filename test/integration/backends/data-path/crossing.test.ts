import test from 'ava';
import type { DataPathFeature } from '../../../../config/data-path-features.ts';
import { eventually } from '../../../support/eventually.ts';
import { FarSide } from '../../../support/far-side.ts';
import { enterFreshNamespace } from '../../../support/netns.ts';
import { deviceOf, farSide, makeKernelDevice, NEAR, ping, startPath, transfer, type Wire } from './pair.ts';

enterFreshNamespace();
const far = await FarSide.connect();
const FAR = farSide(far);

const WIRES: readonly Wire[] = ['udp', 'vxlan', 'vxlan over IPv6'];
const BYTES = 20_000_000;

/** Of TCP and UDP, seen by the hosts. */
function checksumErrors(): string {
  const wanted = '-az TcpInCsumErrors UdpInCsumErrors Udp6InCsumErrors';
  return [NEAR, FAR].map(({ run }) => run(`nstat ${wanted} | awk "NR > 1 && \\$2 > 0"`).trim()).join('');
}

for (const wire of WIRES) {
  test(`${wire}: packets cross, of every size, both ways`, async (t) => {
    startPath(t, wire, NEAR);
    far.inside(() => startPath(t, wire, FAR));
    t.regex(ping(wire), / 0% packet loss/);
    t.regex(ping(wire, '-s', '9000'), / 0% packet loss/, 'in fragments');
    for (const toNear of [true, false]) {
      const { sent, received } = await transfer(far, wire, BYTES, toNear);
      t.is(sent, received);
    }
    t.is(checksumErrors(), '');
  });
}

for (const wire of ['vxlan', 'vxlan over IPv6'] as const) {
  test(`${wire}: packets cross to a kernel that does it itself, and back`, async (t) => {
    startPath(t, wire, NEAR);
    makeKernelDevice(wire, FAR);
    t.teardown(() => far.run(`ip link delete ${deviceOf(wire)}`));
    t.regex(ping(wire), / 0% packet loss/);
    for (const toNear of [true, false]) {
      const { sent, received } = await transfer(far, wire, BYTES, toNear);
      t.is(sent, received);
    }
    t.is(checksumErrors(), '');
  });
}

const WITHOUT: readonly (readonly DataPathFeature[])[] = [
  ['tun-offload'],
  ['udp-gso'],
  ['udp-gro'],
  ['wasm'],
  ['batches'],
  ['tun-offload', 'udp-gso', 'udp-gro', 'wasm'],
];
for (const wire of ['udp', 'vxlan'] as const) {
  for (const without of WITHOUT) {
    test(`${wire}: packets cross without ${without.join(', ')}, to one that has it`, async (t) => {
      const near = startPath(t, wire, NEAR, { without });
      far.inside(() => startPath(t, wire, FAR));
      t.regex(ping(wire), / 0% packet loss/);
      for (const toNear of [true, false]) {
        const { sent, received } = await transfer(far, wire, BYTES / 4, toNear);
        t.is(sent, received);
      }
      for (const feature of without) t.false(near.state().features.includes(feature), feature);
      t.is(checksumErrors(), '');
    });
  }
}

for (const wire of ['udp', 'vxlan'] as const) {
  test(`${wire}: where the underlay takes less than the device, packets cross in fragments`, async (t) => {
    const near = startPath(t, wire, NEAR);
    const remote = far.inside(() => startPath(t, wire, FAR));
    const setMtu = (bytes: number): void => {
      for (const side of [NEAR, FAR]) side.run(`ip link set eth0 mtu ${bytes}`);
    };
    t.teardown(() => setMtu(1500));
    setMtu(1400);
    const { sent, received } = await transfer(far, wire, BYTES / 10, false);
    t.is(sent, received);
    await eventually('it was not sent as a whole', () => (near.state().counters['tx-split'] ?? 0) > 0);
    t.true(near.state().features.includes('udp-gso'), 'others may be reached by a wider path');
    t.deepEqual([near.state().refusals, remote.state().refusals], [{}, {}]);
  });
}

import test from 'ava';
import { prepareDevices } from '../../../agent/own-devices.ts';
import type { DeviceMacs } from '../../../backends/backend.ts';
import { createBackend } from '../../../backends/backends.ts';
import { refusal } from '../../fakes/kernel-tables.ts';
import { hostKernel } from '../backends/rig.ts';
import { MACS, UNDERLAY } from '../backends/values.ts';

for (const [errno, code] of [
  ['EPERM', 'PERMISSION'],
  ['EOPNOTSUPP', 'KERNEL'],
] as const) {
  test(`${errno} for our device is ${code}`, async (t) => {
    const created = createBackend('vxlan', {}, { ipv4: true, ipv6: false }, UNDERLAY);
    if (!created.ok) return t.fail(created.problems.join());
    const kernel = hostKernel();
    kernel.refuses = () => refusal(errno);
    const prepared = prepareDevices(kernel, created.backend, undefined, new Map(), async () => undefined);
    await t.throwsAsync(prepared, { code });
  });
}

test('a MAC that the kernel refuses is replaced by another, which is remembered and is what is published', async (t) => {
  const created = createBackend('vxlan', {}, { ipv4: true, ipv6: false }, UNDERLAY);
  if (!created.ok) return t.fail(created.problems.join());
  const kernel = hostKernel();
  const bad = MACS.get('flannel.1');
  kernel.refuses = ({ object }) =>
    object.kind === 'link' && object.mac === bad ? refusal('EADDRNOTAVAIL') : undefined;
  const remembered: unknown[] = [];
  const macs = await prepareDevices(kernel, created.backend, undefined, MACS, async (made) => {
    remembered.push(made);
  });
  const mac = macs.get('flannel.1');
  t.truthy(mac);
  t.not(mac, bad);
  t.deepEqual(remembered, [macs]);
  t.is(kernel.tables.links.get('flannel.1')?.mac, mac);
});

test("a device that is here though no run of ours made it is a flanneld's, and said to be", async (t) => {
  const created = createBackend('vxlan', {}, { ipv4: true, ipv6: false }, UNDERLAY);
  if (!created.ok) return t.fail(created.problems.join());
  const kernel = hostKernel();
  const adoptions: boolean[] = [];
  const prepare = (known: DeviceMacs) =>
    prepareDevices(kernel, created.backend, undefined, known, async (_, isAdopted) => void adoptions.push(isAdopted));
  const made = await prepare(new Map());
  await prepare(made);
  t.deepEqual(adoptions, [false]);
  await prepare(new Map());
  t.deepEqual(adoptions, [false, true]);
});

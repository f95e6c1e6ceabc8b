import test from 'ava';
import { prepareDevices } from '../../../agent/own-devices.ts';
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

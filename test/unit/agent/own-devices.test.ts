import test from 'ava';
import { prepareDevices } from '../../../agent/own-devices.ts';
import { createBackend } from '../../../backends/backends.ts';
import { refusal } from '../../fakes/kernel-tables.ts';
import { hostKernel } from '../backends/rig.ts';
import { UNDERLAY } from '../backends/values.ts';

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

import test from 'ava';
import { placeDevice } from '../../../backends/device-placing.ts';
import { createVxlan } from '../../../backends/vxlan/vxlan.ts';
import { refusal } from '../../fakes/kernel-tables.ts';
import { DEV, hostKernel } from './rig.ts';
import { backendOf, MACS, OWN, UNDERLAY, V4 } from './values.ts';

const BACKEND = backendOf(createVxlan({}, V4, UNDERLAY));
const DEVICE = BACKEND.device({ ...OWN, subnet6: undefined }, MACS);

test('device and address are put in place, and not again; no other table is read', async (t) => {
  const kernel = hostKernel();
  t.is(await placeDevice(kernel, BACKEND, DEVICE), undefined);
  t.truthy(kernel.tables.links.get(DEV));
  t.true(kernel.tables.addresses.some(({ dev }) => dev === DEV));
  kernel.operations = [];
  t.is(await placeDevice(kernel, BACKEND, DEVICE), undefined);
  t.deepEqual(kernel.operations, []);
  t.deepEqual([...new Set(kernel.calls)].sort(), ['addresses', 'apply', 'links']);
});

test('what is refused is said, and nothing is tried on a device that is', async (t) => {
  const kernel = hostKernel();
  kernel.refuses = ({ object }) => (object.kind === 'link' ? refusal('EOPNOTSUPP') : undefined);
  t.regex((await placeDevice(kernel, BACKEND, DEVICE)) ?? '', /^link flannel\.1: EOPNOTSUPP/);
  t.is(kernel.operations.length, 1);
  kernel.refuses = ({ object }) => (object.kind === 'address' ? refusal('EINVAL') : undefined);
  t.regex((await placeDevice(kernel, BACKEND, DEVICE)) ?? '', /^address .*: EINVAL/);
});

import test from 'ava';
import { areOurDevices, isHeldByAnother, prepareDevices } from '../../../agent/own-devices.ts';
import type { DeviceMacs } from '../../../backends/backend.ts';
import { createBackend } from '../../../backends/backends.ts';
import { macFromBytes } from '../../../config/address.ts';
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

for (const [what, type, config] of [
  ['a tun', 'udp', {}],
  ['a tap', 'vxlan', { Mode: 'user' }],
] as const) {
  test(`${what} is made and remembered; in the hand of another process it is waited for`, async (t) => {
    const created = createBackend(type, config, { ipv4: true, ipv6: false }, UNDERLAY);
    if (!created.ok) return t.fail(created.problems.join());
    const { backend } = created;
    const [name = ''] = backend.devices;
    const kernel = hostKernel();
    const remembered: [DeviceMacs, boolean][] = [];
    const prepare = (known: DeviceMacs = new Map()) =>
      prepareDevices(kernel, backend, undefined, known, async (...news) => void remembered.push(news));
    const isTap = backend.hasMacs;
    const mac = isTap ? MACS.get('flannel.1') : undefined;
    const tun = { isTap, isPersistent: false, isMultiQueue: false };
    kernel.tables.addDevice(name, { mac, type: 'tun', tun });
    const error = await t.throwsAsync(prepare());
    t.true(isHeldByAnother(error), String(error));
    t.regex(String(error), /EBUSY .*held by another process/);
    t.is(remembered.at(-1)?.[1], true, "it is a flanneld's");
    kernel.tables.deleteLink(name);
    const macs = await prepare();
    t.deepEqual([...macs.keys()], [name]);
    t.is(macs.get(name) !== undefined, isTap);
    t.deepEqual(remembered.at(-1), [macs, false]);
    t.like(kernel.tables.links.get(name), { mac: macs.get(name), type: 'tun', tun: { ...tun, isPersistent: true } });
    t.deepEqual(await prepare(macs), macs, 'and found again');
  });
}

test('the MAC stays where a device goes from the kernel to user space', async (t) => {
  const kernel = hostKernel();
  const prepare = async (Mode: string): Promise<DeviceMacs> => {
    const created = createBackend('vxlan', { Mode }, { ipv4: true, ipv6: false }, UNDERLAY);
    if (!created.ok) throw new Error(created.problems.join());
    return await prepareDevices(kernel, created.backend, undefined, new Map(), async () => undefined);
  };
  const before = await prepare('kernel');
  t.deepEqual(await prepare('user'), before);
  t.deepEqual(await prepare('kernel'), before);
});

test("a lease with another MAC is another host's, unless our device is one that a flanneld here would make anew", (t) => {
  for (const [Mode, isOurs] of [
    ['kernel', false],
    ['user', true],
  ] as const) {
    const created = createBackend('vxlan', { Mode }, { ipv4: true, ipv6: false }, UNDERLAY);
    if (!created.ok) return t.fail(created.problems.join());
    const { backend } = created;
    const theirs = backend.advertise(new Map([['flannel.1', macFromBytes(Buffer.from([2, 0, 0, 0, 0, 0x77]))]]));
    t.true(areOurDevices({ backend, macs: MACS }, { ...backend.advertise(MACS), owner: undefined }));
    t.is(areOurDevices({ backend, macs: MACS }, { ...theirs, owner: undefined }), isOurs);
  }
});

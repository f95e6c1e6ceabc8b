import test from 'ava';
import { isAstray, linkStep } from '../../../../backends/kernel/link-step.ts';
import type { Link, LinkInfo, VxlanAttributes } from '../../../../backends/state.ts';
import { macFromBytes, parseIp } from '../../../../config/address.ts';

const local = parseIp('192.0.2.1');
const other = parseIp('192.0.2.2');
const six = parseIp('2001:db8::1');
if (local === undefined || other === undefined || six === undefined) throw new Error('bad test data');
const mac = macFromBytes(Buffer.from([2, 0, 0, 0, 0, 1]));
const vxlan: VxlanAttributes = { vni: 1, port: 8472, local, lower: 'eth0', learning: false, gbp: false };
const wanted: Link = { kind: 'link', name: 'flannel.1', mac, mtuBytes: 1450, up: true, vxlan };
const { vxlan: _, ...device } = wanted;
const tap: Link = { ...device, vxlan: undefined };
const tun: Link = { ...tap, mac: undefined };
const ofTun = { isTap: false, isPersistent: true, isMultiQueue: false };
const found: LinkInfo = {
  index: 7,
  name: 'flannel.1',
  mac,
  mtuBytes: 1450,
  up: true,
  loopback: false,
  type: 'vxlan',
  vxlan,
};

test('a device that is not there is made', (t) => {
  t.deepEqual(linkStep(wanted, undefined), { step: 'make' });
});

test('a device that is as wanted is left alone', (t) => {
  t.deepEqual(linkStep(wanted, found), { step: 'none' });
});

test('address, size and state are changed in place, and only what differs', (t) => {
  const other = macFromBytes(Buffer.from([2, 0, 0, 0, 0, 2]));
  const step = linkStep(wanted, { ...found, mac: other, mtuBytes: 1500, up: false });
  t.deepEqual(step, { step: 'change', change: { mac, mtuBytes: 1450, up: true } });
  t.deepEqual(linkStep({ ...wanted, up: false }, found), { step: 'change', change: { up: false } });
});

test('where it sends from and by, and whether it learns, is changed in place', (t) => {
  const changes: Partial<VxlanAttributes>[] = [{ local }, { lower: 'eth0' }, { learning: false }];
  const found1 = { ...found, vxlan: { ...vxlan, local: other, lower: 'eth1', learning: true } };
  t.deepEqual(linkStep(wanted, found1), {
    step: 'change',
    change: { vxlan: { local, lower: 'eth0', learning: false } },
  });
  for (const change of changes) {
    const [key] = Object.keys(change);
    const before = { local: other, lower: 'eth1', learning: true };
    const only = Object.fromEntries(Object.entries(before).filter(([name]) => name === key));
    const step = linkStep(wanted, { ...found, vxlan: { ...vxlan, ...only } });
    t.deepEqual(step, { step: 'change', change: { vxlan: change } });
  }
});

test('what makes a vxlan that vxlan can only be had by a new device', (t) => {
  const differences: Partial<VxlanAttributes>[] = [{ vni: 2 }, { port: 4789 }, { local: six }, { gbp: true }];
  for (const difference of differences) {
    t.deepEqual(linkStep(wanted, { ...found, vxlan: { ...vxlan, ...difference } }), { step: 'make anew' });
  }
  t.deepEqual(linkStep(wanted, { ...found, type: 'bridge', vxlan: undefined }), { step: 'make anew' });
});

test('a tun or a tap is changed in place too; the other one, and another kind, are made anew', (t) => {
  const foundTap = { ...found, type: 'tun', vxlan: undefined, tun: { ...ofTun, isTap: true } };
  const foundTun = { ...foundTap, mac: undefined, tun: ofTun };
  t.deepEqual(linkStep(tap, foundTap), { step: 'none' });
  t.deepEqual(linkStep(tun, foundTun), { step: 'none' });
  t.deepEqual(linkStep(tun, { ...foundTun, mtuBytes: 1, up: false }), {
    step: 'change',
    change: { mtuBytes: 1450, up: true },
  });
  for (const [one, other] of [
    [tap, foundTun],
    [tun, foundTap],
    [tap, found],
    [wanted, foundTap],
    [tun, { ...foundTun, tun: { ...ofTun, isMultiQueue: true } }],
  ] as const) {
    t.deepEqual(linkStep(one, other), { step: 'make anew' });
  }
});

test("a device that goes with its process is not taken away from it, but another kind's is", (t) => {
  const held = { ...found, mac: undefined, type: 'tun', vxlan: undefined, tun: { ...ofTun, isPersistent: false } };
  t.deepEqual(linkStep(tun, held), { step: 'make' });
  t.deepEqual(linkStep(tap, held), { step: 'make anew' });
});

test('a tap under another name is told by its MAC; a tun has none', (t) => {
  const renamed = { ...found, name: 'mine', type: 'tun', vxlan: undefined, tun: { ...ofTun, isTap: true } };
  t.true(isAstray(tap, renamed));
  t.false(isAstray(wanted, renamed));
  t.false(isAstray(tun, { ...renamed, mac: undefined, tun: ofTun }));
});

test('our device under another name is told by VNI, port and MAC', (t) => {
  t.true(isAstray(wanted, { ...found, name: 'mine', up: false, vxlan: { ...vxlan, local: other } }));
  t.false(isAstray(wanted, found));
  t.false(isAstray(wanted, { ...found, name: 'theirs', mac: macFromBytes(Buffer.from([2, 0, 0, 0, 0, 2])) }));
  t.false(isAstray(wanted, { ...found, name: 'theirs', vxlan: { ...vxlan, port: 4789 } }));
  t.false(isAstray(wanted, { ...found, name: 'bridge', type: 'bridge', vxlan: undefined }));
});

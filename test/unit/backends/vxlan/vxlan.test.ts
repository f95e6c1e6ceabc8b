import test from 'ava';
import fc from 'fast-check';
import type { PeerContext } from '../../../../backends/backend.ts';
import { createVxlan } from '../../../../backends/vxlan/vxlan.ts';
import { backendOf, DUAL, FAR, ip, lease, MACS, mac, OWN, prefix, problemsOf, UNDERLAY, V4, V6 } from '../values.ts';

const vxlan4 = backendOf(createVxlan({}, V4, UNDERLAY));
const vxlan6 = backendOf(createVxlan({}, V6, UNDERLAY));
const dual = backendOf(createVxlan({}, DUAL, UNDERLAY));

test('the lease says, byte for byte, what flannel says', (t) => {
  t.deepEqual(vxlan4.advertise(MACS), {
    publicIp: ip('192.168.77.10'),
    publicIp6: undefined,
    backendType: 'vxlan',
    backendData: '{"VNI":1,"VtepMAC":"02:00:00:00:00:10"}',
    backendV6Data: undefined,
  });
  t.deepEqual(dual.advertise(MACS), {
    publicIp: ip('192.168.77.10'),
    publicIp6: ip('fd77::10'),
    backendType: 'vxlan',
    backendData: '{"VNI":1,"VtepMAC":"02:00:00:00:00:10"}',
    backendV6Data: '{"VNI":1,"VtepMAC":"02:00:00:00:06:10"}',
  });
});

test('an IPv6-only lease has the zero IPv4 address and no IPv4 data', (t) => {
  t.deepEqual(vxlan6.advertise(MACS), {
    publicIp: ip('0.0.0.0'),
    publicIp6: ip('fd77::10'),
    backendType: 'vxlan',
    backendData: undefined,
    backendV6Data: '{"VNI":1,"VtepMAC":"02:00:00:00:06:10"}',
  });
});

test('a MAC that nobody chose is a fault of ours, not a lease without data', (t) => {
  t.throws(() => vxlan4.advertise(new Map()), { code: 'INTERNAL' });
});

test('devices, addresses and MTU', (t) => {
  t.deepEqual(
    [vxlan4.devices, vxlan6.devices, dual.devices],
    [['flannel.1'], ['flannel-v6.1'], ['flannel.1', 'flannel-v6.1']],
  );
  t.deepEqual([vxlan4.mtuBytes, vxlan6.mtuBytes, dual.mtuBytes], [1450, 1430, 1430]);
  const vxlan = { vni: 1, port: 8472, lower: 'eth0', learning: false, gbp: false };
  t.deepEqual(dual.device(OWN, MACS), [
    {
      kind: 'link',
      name: 'flannel.1',
      mac: mac('02:00:00:00:00:10'),
      mtuBytes: 1450,
      up: true,
      vxlan: { ...vxlan, local: ip('192.168.77.10') },
    },
    { kind: 'address', dev: 'flannel.1', ip: ip('10.5.1.0'), length: 32 },
    {
      kind: 'link',
      name: 'flannel-v6.1',
      mac: mac('02:00:00:00:06:10'),
      mtuBytes: 1430,
      up: true,
      vxlan: { ...vxlan, local: ip('fd77::10') },
    },
    { kind: 'address', dev: 'flannel-v6.1', ip: ip('fd00:5:0:1::'), length: 128 },
  ]);
});

test('options go to the device, whatever their case', (t) => {
  const config = { vni: 42, PORT: 4789, gbp: true, LEARNING: true, mtu: 1400, Unknown: [] };
  const backend = backendOf(createVxlan(config, V4, UNDERLAY));
  t.is(backend.mtuBytes, 1350);
  const [link] = backend.device(OWN, new Map([['flannel.42', mac('02:00:00:00:00:01')]]));
  t.like(link, { name: 'flannel.42', mtuBytes: 1350, vxlan: { vni: 42, port: 4789, gbp: true, learning: true } });
});

test('null keeps a default, the last of two spellings counts', (t) => {
  const backend = backendOf(createVxlan({ VNI: null, Port: null, GBP: null, MTU: 1300, mtu: 1400 }, V4, UNDERLAY));
  t.deepEqual([backend.devices, backend.mtuBytes], [['flannel.1'], 1350]);
});

test('an MTU that the underlay does not carry is cut to what it does', (t) => {
  t.is(backendOf(createVxlan({ MTU: 9000 }, V4, UNDERLAY)).mtuBytes, 1450);
});

test('behind NAT the device sends from the interface, and the lease says the public IP and where packets come from', (t) => {
  const nat = backendOf(createVxlan({}, V4, { ...UNDERLAY, publicIp: ip('203.0.113.7') }));
  t.like(nat.advertise(MACS), { publicIp: ip('203.0.113.7'), sources: [ip('192.168.77.10')] });
  t.like(nat.device(OWN, MACS)[0], { vxlan: { local: '192.168.77.10' } });
});

test('a public IP of another interface of this host is sent from', (t) => {
  const hostAddresses = new Set([...UNDERLAY.hostAddresses, ip('198.51.100.4')]);
  const backend = backendOf(createVxlan({}, V4, { ...UNDERLAY, publicIp: ip('198.51.100.4'), hostAddresses }));
  t.like(backend.device(OWN, MACS)[0], { vxlan: { local: '198.51.100.4' } });
});

for (const [name, config] of Object.entries({
  VNI: [{ VNI: 0 }, { VNI: 16777216 }, { VNI: '1' }, { vni: 1.5 }, { VNI: -1 }, { VNI: {} }],
  Port: [{ Port: -1 }, { Port: 65536 }, { Port: true }],
  MTU: [{ MTU: 0 }, { MTU: 117 }, { MTU: 70000 }, { MTU: '1500' }],
  GBP: [{ GBP: 1 }, { GBP: 'true' }],
  Learning: [{ Learning: 'yes' }],
  DirectRouting: [{ directrouting: [] }],
  Mode: [{ Mode: 'kernel ' }, { mode: '' }, { Mode: true }, { Mode: ['user'] }],
})) {
  test(`bad ${name} is a problem that names it`, (t) => {
    for (const bad of config) {
      const problems = problemsOf(createVxlan(bad, V4, UNDERLAY));
      t.is(problems.length, 1);
      t.true(problems[0]?.includes(`Backend.${name} `), problems[0]);
    }
  });
}

test('all problems come at once', (t) => {
  const underlay = { ...UNDERLAY, ip6: undefined, publicIp6: undefined };
  t.is(problemsOf(createVxlan({ VNI: 0, Port: -1, GBP: 3 }, DUAL, underlay)).length, 4);
});

test('an underlay too small for IPv6 inside is refused', (t) => {
  t.is(problemsOf(createVxlan({}, DUAL, { ...UNDERLAY, mtuBytes: 1349 })).length, 1);
  t.is(problemsOf(createVxlan({}, DUAL, { ...UNDERLAY, mtuBytes: 1350 })).length, 0);
});

test('a peer is neighbour, FDB entry, nexthop and route, in this order and per family', (t) => {
  const ids = new Map([
    ['10.5.72.0 flannel.1', 1409286145],
    ['fd00:5:0:48:: flannel-v6.1', 1409286146],
  ]);
  const state = dual.peer(lease(72), { ...FAR, nexthopId: (gateway, dev) => ids.get(`${gateway} ${dev}`) ?? 0 });
  const [gateway, gateway6] = [ip('10.5.72.0'), ip('fd00:5:0:48::')];
  const [v4, v6] = [{ dev: 'flannel.1' }, { dev: 'flannel-v6.1' }];
  const [mac4, mac6] = [mac('02:00:00:00:04:48'), mac('02:00:00:00:06:48')];
  const [id, id6] = [1409286145, 1409286146];
  t.deepEqual(state, {
    objects: [
      { kind: 'neighbour', ...v4, ip: gateway, mac: mac4 },
      { kind: 'fdb', ...v4, mac: mac4, dst: ip('192.168.77.72') },
      { kind: 'nexthop', id, ...v4, gateway, onlink: true },
      { kind: 'route', dst: prefix('10.5.72.0/24'), ...v4, gateway, onlink: true, nexthopId: id },
      { kind: 'neighbour', ...v6, ip: gateway6, mac: mac6 },
      { kind: 'fdb', ...v6, mac: mac6, dst: ip('fd77::48') },
      { kind: 'nexthop', id: id6, ...v6, gateway: gateway6, onlink: true },
      { kind: 'route', dst: prefix('fd00:5:0:48::/64'), ...v6, gateway: gateway6, onlink: true, nexthopId: id6 },
    ],
  });
});

function kinds(state: ReturnType<typeof dual.peer>): unknown {
  return 'objects' in state
    ? state.objects.map((object) => `${object.kind} ${'dev' in object ? object.dev : ''}`)
    : state;
}

test('without nexthop objects the route carries gateway and device itself', (t) => {
  t.deepEqual(kinds(vxlan4.peer(lease(72), FAR)), ['neighbour flannel.1', 'fdb flannel.1', 'route flannel.1']);
});

test('families that one side lacks are left out', (t) => {
  const v4Only = lease(72, { subnet6: undefined, publicIp6: undefined, backendV6Data: undefined });
  const v6Only = lease(72, { subnet: prefix('0.0.0.0/0'), publicIp: ip('0.0.0.0'), backendData: undefined });
  t.deepEqual(kinds(dual.peer(v4Only, FAR)), ['neighbour flannel.1', 'fdb flannel.1', 'route flannel.1']);
  t.deepEqual(kinds(dual.peer(v6Only, FAR)), ['neighbour flannel-v6.1', 'fdb flannel-v6.1', 'route flannel-v6.1']);
  t.true('foreign' in vxlan4.peer(v6Only, FAR));
  t.true('foreign' in vxlan6.peer(v4Only, FAR));
});

test('DirectRouting: a neighbour is routed to on the underlay, plainly; others through the tunnel', (t) => {
  const direct = backendOf(createVxlan({ DirectRouting: true }, DUAL, UNDERLAY));
  const context = { isOnLink: (peer: string) => peer === '192.168.77.72', nexthopId: () => 1409286145 };
  const state = direct.peer(lease(72), context);
  t.deepEqual(kinds(state), [
    'route eth0',
    'neighbour flannel-v6.1',
    'fdb flannel-v6.1',
    'nexthop flannel-v6.1',
    'route flannel-v6.1',
  ]);
  t.like('objects' in state && state.objects[0], { gateway: '192.168.77.72', onlink: false, nexthopId: undefined });
  t.is([kinds(dual.peer(lease(72), context))].flat().length, 8, 'without the option: never');
});

test('leases of other types are foreign, also in another case', (t) => {
  for (const backendType of ['host-gw', '', 'VXLAN']) t.true('foreign' in vxlan4.peer(lease(72, { backendType }), FAR));
});

for (const [field, change] of [
  ['BackendData', { backendData: undefined }],
  ['BackendData', { backendData: '"text"' }],
  ['BackendData', { backendData: '{' }],
  ['BackendData.VtepMAC', { backendData: '{"VNI":1}' }],
  ['BackendData.VtepMAC', { backendData: '{"VtepMAC":null}' }],
  ['BackendData.VtepMAC', { backendData: '{"VtepMAC":7}' }],
  ['BackendData.VtepMAC', { backendData: '{"VtepMAC":"02:00:00:00:04"}' }],
  ['BackendData.VtepMAC', { backendData: '{"VtepMAC":"01:00:5e:00:00:01"}' }],
  ['BackendData.VtepMAC', { backendData: '{"VtepMAC":"00:00:00:00:00:00"}' }],
  ['BackendV6Data', { backendV6Data: undefined }],
  ['BackendV6Data.VtepMAC', { backendV6Data: '{"VtepMAC":"ff:ff:ff:ff:ff:ff"}' }],
  ['PublicIP', { publicIp: ip('0.0.0.0') }],
  ['PublicIP', { publicIp: ip('224.0.0.1') }],
  ['PublicIPv6', { publicIp6: undefined }],
  ['PublicIPv6', { publicIp6: ip('ff02::1') }],
] as const) {
  test(`refused, naming ${field}: ${JSON.stringify(change)}`, (t) => {
    const state = dual.peer(lease(72, change), FAR);
    t.true('refused' in state && state.refused.startsWith(`${field} `), JSON.stringify(state));
  });
}

test('a node without IPv6 does not mind what a lease says for IPv6', (t) => {
  t.true('objects' in vxlan4.peer(lease(72, { backendV6Data: '{', publicIp6: ip('ff02::1') }), FAR));
});

test('another VNI, another spelling, unknown keys: as flannel, no matter', (t) => {
  const backendData = '{"vni":7,"vtepmac":"02-00-00-00-04-48","More":1}';
  const state = vxlan4.peer(lease(72, { backendData }), FAR);
  t.like('objects' in state && state.objects[0], { kind: 'neighbour', mac: '02:00:00:00:04:48' });
});

test('identities: the MACs of the enabled families, each once', (t) => {
  const identities = ['MAC 02:00:00:00:04:48', 'MAC 02:00:00:00:06:48'];
  t.deepEqual(dual.claim(lease(72)), { identities });
  t.deepEqual(dual.claim(lease(72, { subnet6: undefined })), { identities });
  const [first] = identities;
  const { backendData } = lease(72);
  t.deepEqual(dual.claim(lease(72, { backendV6Data: backendData })), { identities: [first] });
  t.deepEqual(vxlan4.claim(lease(72)), { identities: [first] });
});

test('what can be no peer has no identities either, for the same reason', (t) => {
  for (const change of [{ backendData: undefined }, { publicIp: ip('127.0.0.1') }, { backendType: 'host-gw' }]) {
    const claim = vxlan4.claim(lease(72, change));
    t.false('identities' in claim);
    t.deepEqual(claim, vxlan4.peer(lease(72, change), FAR));
  }
});

test('the published MAC of each device', (t) => {
  t.is(dual.publishedMac(lease(72), 'flannel.1'), mac('02:00:00:00:04:48'));
  t.is(dual.publishedMac(lease(72), 'flannel-v6.1'), mac('02:00:00:00:06:48'));
  t.is(dual.publishedMac(lease(72), 'flannel.2'), undefined);
  t.is(dual.publishedMac(lease(72, { backendData: '{"VtepMAC":"01:00:00:00:00:00"}' }), 'flannel.1'), undefined);
  t.is(dual.publishedMac(lease(72, { backendType: '' }), 'flannel.1'), undefined);
});

test('no lease data makes it throw', (t) => {
  const text = fc.oneof(
    fc.string(),
    fc.json(),
    fc.json().map((value) => `{"VtepMAC":${value}}`),
  );
  t.notThrows(() =>
    fc.assert(
      fc.property(text, (backendData) => {
        const odd = lease(72, { backendData, backendV6Data: backendData });
        const state = dual.peer(odd, FAR);
        const claim = dual.claim(odd);
        return 'refused' in state ? 'refused' in claim : 'identities' in claim && claim.identities.length >= 1;
      }),
    ),
  );
});

const user = backendOf(createVxlan({ Mode: 'user' }, DUAL, UNDERLAY));

test('in user space: taps with the same names, MACs, MTUs and addresses, and the same lease', (t) => {
  t.deepEqual(
    user.device(OWN, MACS),
    dual.device(OWN, MACS).map((object) => (object.kind === 'link' ? { ...object, vxlan: undefined } : object)),
  );
  t.deepEqual([user.devices, user.mtuBytes, user.hasMacs], [dual.devices, dual.mtuBytes, true]);
  t.deepEqual(user.advertise(MACS), dual.advertise(MACS));
  t.deepEqual(user.claim(lease(72)), dual.claim(lease(72)));
});

test('in user space: plain routes whatever ids there are, neighbours, and no forwarding entries', (t) => {
  const objects = (backend: typeof user, context: PeerContext) => {
    const state = backend.peer(lease(72), context);
    return 'objects' in state ? state.objects : [];
  };
  const plain = objects(dual, FAR).filter(({ kind }) => kind !== 'fdb');
  t.is(plain.length, 4);
  t.deepEqual(objects(user, FAR), plain);
  t.deepEqual(objects(user, { ...FAR, nexthopId: () => 1409286145 }), plain);
});

test('in user space: what each device has to know, and each peer of it', (t) => {
  const own = { local: ip('192.168.77.10'), port: 8472, mtuBytes: 1450 };
  // Either device may be handed a packet of either family.
  const inside = { own: [OWN.subnet, OWN.subnet6], networks: [prefix('10.5.0.0/16'), prefix('fd00:5::/32')] };
  t.deepEqual(user.userSpace?.paths(OWN, MACS), [
    {
      ...{ device: 'flannel.1', encapsulation: { kind: 'vxlan', vni: 1, mac: mac('02:00:00:00:00:10') } },
      ...own,
      ...inside,
    },
    {
      ...{ device: 'flannel-v6.1', encapsulation: { kind: 'vxlan', vni: 1, mac: mac('02:00:00:00:06:10') } },
      ...{ ...own, local: ip('fd77::10'), mtuBytes: 1430 },
      ...inside,
    },
  ]);
  const one = lease(72, { sources: [ip('198.51.100.9'), ip('fd77::99')] });
  t.deepEqual(user.userSpace?.peer(one, 'flannel.1'), {
    ...{ endpoint: ip('192.168.77.72'), sources: [ip('192.168.77.72'), ip('198.51.100.9')] },
    ...{ subnets: [prefix('10.5.72.0/24')], mac: mac('02:00:00:00:04:48') },
  });
  t.deepEqual(user.userSpace?.peer(one, 'flannel-v6.1'), {
    ...{ endpoint: ip('fd77::48'), sources: [ip('fd77::48'), ip('fd77::99')] },
    ...{ subnets: [prefix('fd00:5:0:48::/64')], mac: mac('02:00:00:00:06:48') },
  });
  t.is(user.userSpace?.peer(one, 'flannel.9'), undefined);
  t.is(user.userSpace?.peer(lease(72, { backendData: '{}' }), 'flannel.1'), undefined, 'refused whole');
  t.is(user.userSpace?.peer(lease(72, { subnet6: undefined }), 'flannel-v6.1'), undefined);
});

for (const [config, knows, inUserSpace, isSaid] of [
  [{}, true, false, false],
  [{}, false, true, true],
  [{ Mode: 'auto' }, true, false, false],
  [{ mode: 'AUTO' }, false, true, true],
  [{ Mode: null }, false, true, true],
  [{ Mode: 'kernel' }, false, false, false],
  [{ Mode: 'Kernel' }, true, false, false],
  [{ Mode: 'user' }, true, true, false],
  [{ Mode: 'USER', Learning: true }, false, true, false],
] as const) {
  const host = `a kernel that ${knows ? 'makes' : 'does not make'} vxlan devices`;
  test(`${JSON.stringify(config)} on ${host}: ${inUserSpace ? 'user space' : 'the kernel'}`, (t) => {
    const backend = backendOf(createVxlan(config, V4, UNDERLAY, knows));
    t.is(backend.userSpace !== undefined, inUserSpace);
    t.is(backend.note !== undefined, isSaid);
    const [link] = backend.device(OWN, MACS);
    t.is(link?.kind === 'link' && link.vxlan === undefined, inUserSpace);
  });
}

test('group policy is carried by the kernel alone, which is said', (t) => {
  t.regex(problemsOf(createVxlan({ GBP: true, Mode: 'user' }, V4, UNDERLAY)).join(), /^Backend\.GBP .*Mode is "user"/);
  t.regex(problemsOf(createVxlan({ GBP: true }, V4, UNDERLAY, false)).join(), /^Backend\.GBP .*this kernel makes no/);
  t.deepEqual(problemsOf(createVxlan({ GBP: true }, V4, UNDERLAY, true)), []);
});

test('DirectRouting in user space: a neighbour gets a plain route by the underlay', (t) => {
  const direct = backendOf(createVxlan({ DirectRouting: true, Mode: 'user' }, V4, UNDERLAY));
  const state = direct.peer(lease(72), { ...FAR, isOnLink: () => true });
  t.deepEqual('objects' in state ? state.objects.map(({ kind }) => kind) : state, ['route']);
});

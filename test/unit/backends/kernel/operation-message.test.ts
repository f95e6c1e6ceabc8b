import test from 'ava';
import { encodeLinkChange, encodeNewVxlan, encodeVxlanQuestion } from '../../../../backends/kernel/link-message.ts';
import { MessageWriter } from '../../../../backends/kernel/message-writer.ts';
import { deviceNeeded, encodeOperation, isDoneAnyway } from '../../../../backends/kernel/operation-message.ts';
import {
  BOOT_PROTOCOL,
  type KernelObject,
  type Operation,
  type VxlanLink,
  YIELDING_METRIC,
} from '../../../../backends/state.ts';
import { ip, mac, prefix } from '../../../support/addresses.ts';

/** The bytes as hex, length and flags included, sequence number zeroed; the wish to be acknowledged is set, as ip(8) does. */
function hex(write: (writer: MessageWriter) => void): string {
  const writer = new MessageWriter(1024);
  writer.reset(0);
  write(writer);
  return writer.acknowledged().toString('hex');
}

/** A message as ip(8) or bridge(8) sent it, `seq` being that program's sequence number. */
function captured(text: string): string {
  const bytes = Buffer.from(text, 'hex');
  bytes.writeUInt32LE(0, 8);
  return bytes.toString('hex');
}

const operation = (verb: Operation['verb'], object: KernelObject): Operation => ({ verb, object, why: '' });
const written = (verb: Operation['verb'], object: KernelObject, index = 0): string =>
  hex((writer) => encodeOperation(writer, operation(verb, object), index));

const flannel1: VxlanLink = {
  kind: 'link',
  name: 'flannel.1',
  mac: mac('02:42:00:00:00:01'),
  mtuBytes: 1450,
  up: false,
  vxlan: { vni: 1, port: 8472, local: ip('192.0.2.1'), lower: 'tk0', learning: false, gbp: false },
};
const flannelV6: VxlanLink = {
  ...flannel1,
  name: 'flannel-v6.1',
  mtuBytes: 1430,
  vxlan: { ...flannel1.vxlan, local: ip('fd00::1'), gbp: true },
};

test('a new IPv4 vxlan is asked for as `ip link add` does', (t) => {
  t.is(
    hex((writer) => encodeNewVxlan(writer, flannel1, 3)),
    captured(
      '8000000010000506d264016b00000000000000000000000000000000000000000a000100024200000001000008000400aa0500000e000300' +
        '666c616e6e656c2e310000003c0012000900010076786c616e0000002c000200080003000300000008000100010000000800' +
        '0400c0000201050007000000000006000f0021180000',
    ),
  );
});

test('a new IPv6 vxlan with group policy is asked for as `ip link add` does', (t) => {
  t.is(
    hex((writer) => encodeNewVxlan(writer, flannelV6, 3)),
    captured(
      '9400000010000506d264016b00000000000000000000000000000000000000000a000100024200000001000008000400960500001100' +
        '0300666c616e6e656c2d76362e31000000004c0012000900010076786c616e0000003c000200080003000300000004001700' +
        '080001000100000014001100fd000000000000000000000000000001050007000000000006000f0021180000',
    ),
  );
});

test('a device that is to be up is made so in the same message', (t) => {
  const bytes = Buffer.from(
    hex((writer) => encodeNewVxlan(writer, { ...flannel1, up: true }, 3)),
    'hex',
  );
  t.is(bytes.readUInt32LE(24), 1);
  t.is(bytes.readUInt32LE(28), 0x81, 'IFF_UP and IFF_NOARP are meant');
});

test('changes of a device are those of `ip link set`', (t) => {
  t.is(
    hex((writer) => encodeLinkChange(writer, 4, { mac: mac('02:42:00:00:00:09') })),
    captured('2c00000010000500d364016b00000000000000000400000000000000000000000a0001000242000000090000'),
  );
  t.is(
    hex((writer) => encodeLinkChange(writer, 4, { up: true })),
    // ip link set … up arp on nomaster
    captured('2800000010000500d264016b000000000000000004000000010000008100000008000a0000000000'),
  );
  t.is(
    hex((writer) => encodeLinkChange(writer, 2, { up: true }, false)),
    // ip link set … up nomaster: a device without a MAC is not made to ask for one.
    captured('28000000100005009767026b000000000000000002000000010000000100000008000a0000000000'),
  );
});

test('the kernel is asked for a vxlan device that no kernel makes', (t) => {
  t.is(
    hex(encodeVxlanQuestion),
    captured(
      // A new device, EXCL, of kind vxlan: IFLA_VXLAN_ID 0x1000000, one beyond the last.
      '3c00000010000506000000000000000000000000000000000000000000000000' +
        '1c0012000900010076786c616e0000000c0002000800010000000001',
    ),
  );
});

const at4 = 4;
const at5 = 5;
const neighbour = { kind: 'neighbour', dev: 'd', mac: mac('02:42:00:00:00:02') } as const;
const fdb = { kind: 'fdb', dev: 'd', mac: mac('02:42:00:00:00:02') } as const;
const nexthop = { kind: 'nexthop', dev: 'd', onlink: true } as const;
const route = { kind: 'route', dev: 'd', onlink: true, nexthopId: undefined } as const;

const network: KernelObject = {
  ...{ ...route, dst: prefix('10.5.0.0/16'), metric: YIELDING_METRIC },
  ...{ gateway: undefined, onlink: false },
};

const GOLDEN: readonly [string, Operation['verb'], KernelObject, number, string][] = [
  [
    'ip addr add 10.5.1.0/32',
    'create',
    { kind: 'address', dev: 'd', ip: ip('10.5.1.0'), length: 32 },
    at4,
    '2800000014000506d264016b000000000220000004000000080002000a050100080001000a050100',
  ],
  [
    'ip addr add fd05::1:0/128 nodad',
    'create',
    { kind: 'address', dev: 'd', ip: ip('fd05::1:0'), length: 128 },
    at5,
    '4000000014000506d264016b000000000a8002000500000014000200fd050000000000000000000000010000' +
      '14000100fd050000000000000000000000010000',
  ],
  [
    'ip addr del 10.5.1.9/32',
    'delete',
    { kind: 'address', dev: 'd', ip: ip('10.5.1.9'), length: 32 },
    at4,
    '2800000015000500d264016b000000000220000004000000080002000a050109080001000a050109',
  ],
  [
    'ip nexthop add id 1409286144 via 10.5.2.0 onlink protocol 84',
    'create',
    { ...nexthop, id: 1409286144, gateway: ip('10.5.2.0') },
    at4,
    '3000000068000506d264016b0000000002005400040000000800010000000054080006000a0502000800050004000000',
  ],
  [
    'ip nexthop replace id 1409286145 via fd05::2:0 onlink protocol 84',
    'set',
    { ...nexthop, id: 1409286145, gateway: ip('fd05::2:0') },
    at5,
    '3c00000068000505d264016b000000000a00540004000000080001000100005414000600fd050000000000000000000000020000' +
      '0800050005000000',
  ],
  [
    'ip nexthop del id 77',
    'delete',
    { ...nexthop, id: 77, gateway: ip('10.5.2.0') },
    0,
    '2000000069000500d264016b000000000000000000000000080001004d000000',
  ],
  [
    'ip neigh replace 10.5.2.0 nud permanent',
    'set',
    { ...neighbour, ip: ip('10.5.2.0') },
    at4,
    '300000001c000505d364016b00000000020000000400000080000000080001000a0502000a0002000242000000020000',
  ],
  [
    'ip neigh replace fd05::2:0 nud permanent',
    'set',
    { ...neighbour, ip: ip('fd05::2:0') },
    at5,
    '3c0000001c000505d364016b000000000a000000050000008000000014000100fd050000000000000000000000020000' +
      '0a0002000242000000020000',
  ],
  [
    'ip neigh del 10.5.2.9',
    'delete',
    { ...neighbour, ip: ip('10.5.2.9') },
    at4,
    '240000001d000500d364016b00000000020000000400000080000000080001000a050209',
  ],
  // bridge(8) sends the state c0, NUD_NOARP too; what we want is 80, NUD_PERMANENT alone.
  [
    'bridge fdb replace dst 192.0.2.2 self permanent',
    'set',
    { ...fdb, dst: ip('192.0.2.2') },
    at4,
    '300000001c000505d364016b000000000700000004000000800002000a000200024200000002000008000100c0000202',
  ],
  [
    'bridge fdb replace dst fd00::2 self permanent',
    'set',
    { ...fdb, dst: ip('fd00::2') },
    at5,
    '3c0000001c000505d364016b000000000700000005000000800002000a000200024200000002000014000100' +
      'fd000000000000000000000000000002',
  ],
  [
    'ip route replace 10.5.2.0/24 nhid 1409286144 protocol 84',
    'set',
    { ...route, dst: prefix('10.5.2.0/24'), gateway: ip('10.5.2.0'), nexthopId: 1409286144 },
    0,
    '2c00000018000505d264016b0000000002180000fe54000100000000080001000a05020008001e0000000054',
  ],
  [
    'ip route replace 10.5.3.0/24 via 10.5.3.0 onlink protocol 84',
    'set',
    { ...route, dst: prefix('10.5.3.0/24'), gateway: ip('10.5.3.0') },
    at4,
    '3400000018000505d264016b0000000002180000fe54000104000000080001000a050300080005000a0503000800040004000000',
  ],
  [
    'ip -6 route replace fd05:0:0:3::/64 via fd05:0:0:3:: onlink protocol 84',
    'set',
    { ...route, dst: prefix('fd05:0:0:3::/64'), gateway: ip('fd05:0:0:3::') },
    at5,
    '4c00000018000505d264016b000000000a400000fe5400010400000014000100fd050000000000030000000000000000' +
      '14000500fd0500000000000300000000000000000800040005000000',
  ],
  [
    'ip -6 route replace fd05:0:0:2::/64 nhid 1409286145 protocol 84',
    'set',
    { ...route, dst: prefix('fd05:0:0:2::/64'), gateway: ip('fd05:0:0:2::'), nexthopId: 1409286145 },
    0,
    '3800000018000505d264016b000000000a400000fe5400010000000014000100fd050000000000020000000000000000' +
      '08001e0001000054',
  ],
  [
    'ip route del 10.5.3.0/24 protocol 84',
    'delete',
    { ...route, dst: prefix('10.5.3.0/24'), gateway: ip('10.5.3.0') },
    0,
    '2400000019000500d264016b0000000002180000fe54ff0000000000080001000a050300',
  ],
  [
    'ip route replace 10.5.0.0/16 dev tn0 metric 84 protocol 84 scope global',
    'set',
    network,
    2,
    '34000000180005059667026b0000000002100000fe54000100000000080001000a05000008000600540000000800040002000000',
  ],
  [
    'ip route del 10.5.0.0/16 metric 84 protocol 84',
    'delete',
    network,
    0,
    '2c000000190005009767026b0000000002100000fe54ff0000000000080001000a0500000800060054000000',
  ],
];

for (const [command, verb, object, index, bytes] of GOLDEN) {
  test(`the bytes are those of \`${command}\``, (t) => t.is(written(verb, object, index), captured(bytes)));
}

test('deleting a route names the protocol that it is told', (t) => {
  const object: KernelObject = { ...route, dst: prefix('10.5.3.0/24'), gateway: ip('10.5.3.0') };
  const told: Operation = { ...operation('delete', object), protocol: BOOT_PROTOCOL };
  const bytes = Buffer.from(
    hex((writer) => encodeOperation(writer, told, 0)),
    'hex',
  );
  t.is(bytes[21], BOOT_PROTOCOL);
});

test('deleting a forwarding entry names no destination', (t) => {
  t.is(
    written('delete', { ...fdb, dst: ip('192.0.2.2') }, 4),
    '280000001d0005000000000000000000070000000400000080000200' + '0a0002000242000000020000',
  );
});

test('a device is needed only where the message carries its index', (t) => {
  const via = { ...route, dst: prefix('10.5.3.0/24'), gateway: ip('10.5.3.0') };
  t.is(deviceNeeded(operation('set', via)), 'd');
  t.is(deviceNeeded(operation('set', { ...via, nexthopId: 7 })), undefined);
  t.is(deviceNeeded(operation('delete', via)), undefined);
  t.is(deviceNeeded(operation('delete', { ...nexthop, id: 7, gateway: ip('10.5.2.0') })), undefined);
  t.is(deviceNeeded(operation('delete', { ...fdb, dst: ip('192.0.2.2') })), 'd');
});

test('an absent object is as deleted, and an address that stands is as set', (t) => {
  for (const errno of ['ENOENT', 'ESRCH', 'EADDRNOTAVAIL', 'ENODEV']) t.true(isDoneAnyway('delete', 'route', errno));
  t.false(isDoneAnyway('delete', 'route', 'EPERM'));
  t.true(isDoneAnyway('set', 'address', 'EEXIST'));
  t.false(isDoneAnyway('create', 'address', 'EEXIST'));
  t.false(isDoneAnyway('set', 'nexthop', 'EEXIST'));
});

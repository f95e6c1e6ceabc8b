import { readFileSync } from 'node:fs';
import test from 'ava';
import { DeviceTable } from '../../../../backends/kernel/device-table.ts';
import { decodeEvents } from '../../../../backends/kernel/event-message.ts';
import type { KernelEvent } from '../../../../backends/kernel/kernel.ts';
import type { Message } from '../../../../backends/kernel/message.ts';
import { prefix } from '../../../support/addresses.ts';

const file = new URL('../../../../../test/golden/kernel-dumps.json', import.meta.url);
const golden: Record<string, readonly { type: number; body: string }[]> = JSON.parse(readFileSync(file, 'utf8'));

function dump(name: string): Message[] {
  return (golden[name] ?? []).map(({ type, body }) => ({
    type,
    flags: 0,
    port: 0,
    seq: 0,
    body: Buffer.from(body, 'hex'),
  }));
}

function table(): DeviceTable {
  const devices = new DeviceTable();
  devices.replace(dump('links'));
  return devices;
}

const events = (name: string, devices = table()): KernelEvent[] => dump(name).flatMap((m) => decodeEvents(m, devices));
/** The same messages as deletions: the kernel's types are one apart. */
const deletions = (name: string, devices = table()): KernelEvent[] =>
  dump(name).flatMap((m) => decodeEvents({ ...m, type: m.type + 1 }, devices));

test('devices are told by name and learnt', (t) => {
  const devices = new DeviceTable();
  t.deepEqual(
    events('links', devices),
    ['lo', 'tk9', 'tk0', 'flannel.1', 'flannel-v6.1', 'other'].map((link) => ({ verb: 'set', link })),
  );
  t.is(devices.indexOf('flannel.1'), 4);
  deletions('links', devices);
  t.is(devices.indexOf('flannel.1'), undefined);
});

test('a renamed device is told as its old name gone and its new name come', (t) => {
  const devices = table();
  devices.learn(2, 'tk1', 'veth');
  t.deepEqual(events('links', devices).slice(1, 3), [
    { verb: 'delete', link: 'tk1' },
    { verb: 'set', link: 'tk9' },
  ]);
});

test("a bridge's word about a port is no word about the device", (t) => {
  const devices = table();
  const [message] = dump('links').slice(3);
  if (message === undefined) return t.fail();
  const body = Buffer.from(message.body);
  body[0] = 7;
  t.deepEqual(decodeEvents({ ...message, type: 17, body }, devices), []);
  t.is(devices.indexOf('flannel.1'), 4);
});

test('routes of ours or of boot are told whole, others by their destination', (t) => {
  const found = events('routes4').map((event) => ('observed' in event ? event.observed.protocol : event));
  t.deepEqual(found, [
    { verb: 'set', foreignRoute: '10.5.0.0/16' },
    84,
    3,
    { verb: 'set', foreignRoute: '10.6.0.0/16' },
    3,
    { verb: 'set', foreignRoute: '192.0.2.0/24' },
  ]);
  t.true(deletions('routes4').every(({ verb }) => verb === 'delete'));
});

test('a route of ours to a device alone is told whole, with its metric; of boot it is not ours', (t) => {
  const devices = table();
  devices.learn(2, 'tn0', 'tun');
  const hop = { dev: 'tn0', gateway: undefined, onlink: false, nexthopId: undefined };
  t.deepEqual(events('tunRoutes', devices), [
    {
      verb: 'set',
      observed: {
        object: { kind: 'route', dst: prefix('10.5.0.0/16'), metric: 84, ...hop },
        ...{ protocol: 84, permanent: false },
      },
    },
  ]);
  const [message] = dump('tunRoutes');
  if (message === undefined) return t.fail();
  message.body[5] = 3;
  t.deepEqual(decodeEvents(message, devices), [{ verb: 'set', foreignRoute: '10.5.0.0/16' }]);
});

test('nexthops without a gateway are told by their id', (t) => {
  t.deepEqual(
    deletions('nexthops').map((event) => ('observed' in event ? event.observed.object.kind : event)),
    [
      { verb: 'delete', foreignRoute: 'nexthop 5' },
      { verb: 'delete', foreignRoute: 'nexthop 6' },
      'nexthop',
      'nexthop',
    ],
  );
});

test('neighbours count on vxlan and tap devices alone, in every state', (t) => {
  t.is(events('neighbours4').length, 2);
  t.is(events('fdb4').length, 2);
  const devices = table();
  devices.learn(4, 'flannel.1', 'bridge');
  t.deepEqual(events('neighbours4', devices), []);
  t.deepEqual(events('fdb4', devices), []);
  devices.learn(4, 'flannel.1', 'tun');
  t.is(events('neighbours4', devices).length, 2);
});

test('addresses are told for every device, for one without a name by its index', (t) => {
  t.deepEqual(events('addresses4')[1], { verb: 'set', address: { dev: 'tk0', ip: '192.0.2.1' } } as never);
  t.like(events('addresses4', new DeviceTable())[1], { address: { dev: '#3' } });
});

/** RTM_NEWNETCONF: family, then NETCONFA_IFINDEX and NETCONFA_FORWARDING. */
function netconf(index: number): Message {
  const body = Buffer.from('0200000008000100000000000800020001000000', 'hex');
  body.writeInt32LE(index, 8);
  return { type: 80, flags: 0, port: 0, seq: 0, body };
}

test('a switch that was moved is told by its device; one of a device not heard of is nobody we know', (t) => {
  const told = (index: number): KernelEvent[] => decodeEvents(netconf(index), table());
  t.deepEqual(told(-1), [{ verb: 'set', sysctlsOf: 'all' }]);
  t.deepEqual(told(-2), [{ verb: 'set', sysctlsOf: 'default' }]);
  t.deepEqual(told(4), [{ verb: 'set', sysctlsOf: 'flannel.1' }]);
  t.deepEqual(told(4711), []);
  t.deepEqual(decodeEvents({ ...netconf(4), body: Buffer.from([2, 0, 0]) }, table()), []);
});

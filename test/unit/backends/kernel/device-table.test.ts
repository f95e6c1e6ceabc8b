import test from 'ava';
import { DeviceTable } from '../../../../backends/kernel/device-table.ts';

test('a device is known by name and index until it is forgotten', (t) => {
  const table = new DeviceTable();
  t.is(table.learn(4, 'flannel.1', 'vxlan'), undefined);
  t.is(table.indexOf('flannel.1'), 4);
  t.is(table.nameOf(4), 'flannel.1');
  t.true(table.isOverlay(4));
  table.forget('flannel.1');
  t.is(table.indexOf('flannel.1'), undefined);
  t.is(table.nameOf(4), undefined);
  t.false(table.isOverlay(4));
});

test('a device that is renamed gives its old name up', (t) => {
  const table = new DeviceTable();
  table.learn(4, 'a', '');
  t.is(table.learn(4, 'b', ''), 'a');
  t.is(table.indexOf('a'), undefined);
  t.is(table.nameOf(4), 'b');
  t.is(table.learn(4, 'b', ''), undefined);
});

test('a name that a new device has taken leads to that one', (t) => {
  const table = new DeviceTable();
  table.learn(4, 'flannel.1', 'vxlan');
  table.learn(9, 'flannel.1', 'vxlan');
  t.is(table.indexOf('flannel.1'), 9);
  t.is(table.nameOf(4), undefined);
});

test('a miss is remembered once; index 0 is no device', (t) => {
  const table = new DeviceTable();
  t.is(table.nameOf(0), undefined);
  t.false(table.takeMissed());
  table.nameOf(3);
  t.true(table.takeMissed());
  t.false(table.takeMissed());
});

test('news of a device that we deleted are old until the kernel has told that it is gone', (t) => {
  const table = new DeviceTable();
  table.learn(4, 'flannel.1', 'vxlan');
  table.bury('flannel.1');
  t.is(table.learn(4, 'flannel.1', 'vxlan'), undefined);
  t.is(table.indexOf('flannel.1'), undefined);
  table.learn(9, 'flannel.1', 'vxlan');
  table.gone(4, 'flannel.1');
  t.is(table.indexOf('flannel.1'), 9);
  // Index 4 may be used again.
  table.learn(4, 'eth4', '');
  t.is(table.indexOf('eth4'), 4);
});

test('news of an older device by the name of a younger one: neither is believed, both have to be read', (t) => {
  const table = new DeviceTable();
  table.learn(9, 'flannel.1', 'vxlan');
  t.is(table.learn(4, 'flannel.1', 'vxlan'), undefined);
  t.is(table.indexOf('flannel.1'), undefined);
  t.is(table.nameOf(4), undefined);
});

import { closeSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { type Layer, makeTun, openTun, tunState } from '../../../../backends/kernel/tun.ts';
import { enterFreshNamespace, run } from '../../../support/netns.ts';

enterFreshNamespace();

/** What ip(8) says of the device. */
function shown(name: string): { type: string; persist: boolean; user?: string } | undefined {
  const all: { ifname: string; linkinfo?: { info_data: { type: string; persist: boolean; user?: string } } }[] =
    JSON.parse(run('ip -d -j link'));
  return all.find(({ ifname }) => ifname === name)?.linkinfo?.info_data;
}

function held(t: ExecutionContext, name: string, layer: Layer, offload = true) {
  const tun = openTun(name, layer, offload);
  if ('errno' in tun) throw new Error(`${name}: ${tun.errno} ${tun.detail}`);
  t.teardown(() => closeSync(tun.fd));
  return tun;
}

test('a device that is made stays, is its kind, and is for root alone', (t) => {
  t.is(makeTun('flannel0', 3), undefined);
  t.is(makeTun('flannel.1', 2), undefined);
  t.like(shown('flannel0'), { type: 'tun', persist: true, user: 'root' });
  t.like(shown('flannel.1'), { type: 'tap', persist: true, user: 'root' });
  t.is(makeTun('flannel0', 3), undefined, 'what is there is taken');
});

test('its other end is one process alone', (t) => {
  t.is(makeTun('busy0', 3), undefined);
  held(t, 'busy0', 3);
  t.like(makeTun('busy0', 3), { errno: 'EBUSY', detail: 'busy0 is held by another process: stop it' });
  t.like(openTun('busy0', 3, true), { errno: 'EBUSY' });
});

test('a device of another kind is neither made nor opened', (t) => {
  run('ip link add other0 type veth peer name other1');
  t.like(makeTun('other0', 3), { errno: 'EINVAL', detail: 'other0 is a device of another kind' });
  t.is(makeTun('tap0', 2), undefined);
  t.like(openTun('tap0', 3, true), { errno: 'EINVAL' });
});

test('to open one that is not there makes none', (t) => {
  t.like(openTun('absent0', 3, true), { errno: 'ENODEV', detail: 'there is no absent0 yet' });
  t.is(shown('absent0'), undefined);
});

test('offloads: what the kernel knows, or none', (t) => {
  t.is(makeTun('off0', 2), undefined);
  const features = (): string => run('ethtool -k off0 2>/dev/null || true');
  const tun = openTun('off0', 2, true);
  if ('errno' in tun) throw new Error(tun.errno);
  t.true(tun.offloads.tcp);
  if (features() !== '') t.regex(features(), /tx-tcp-segmentation: on/);
  closeSync(tun.fd);
  const plain = held(t, 'off0', 2, false);
  t.deepEqual(plain.offloads, { tcp: false, udp: false });
  if (features() !== '') t.regex(features(), /tx-tcp-segmentation: off/);
});

test('the descriptor tells what became of its device', (t) => {
  t.is(makeTun('state0', 3), undefined);
  const { fd } = held(t, 'state0', 3);
  t.deepEqual(tunState(fd), { name: 'state0', isPersistent: true });
  run('ip link set state0 name renamed0');
  t.deepEqual(tunState(fd), { name: 'renamed0', isPersistent: true });
  run('ip link delete renamed0');
  t.is(tunState(fd), undefined);
});

import test from 'ava';
import { bridgeProblem, watchDockerBridge } from '../../../agent/docker-bridge.ts';
import type { AddressInfo } from '../../../backends/state.ts';
import { silentLog } from '../../../config/log.ts';
import { settle, VirtualClock } from '../../fakes/clock.ts';
import { ip, prefix } from '../../support/addresses.ts';
import { hostKernel } from '../backends/rig.ts';

const BASIS = { networks: [prefix('10.5.0.0/16')], own: { subnet: prefix('10.5.17.0/24'), subnet6: undefined } };

function address(text: string, dev = 'docker0'): AddressInfo {
  const [at = '', length] = text.split('/');
  return { dev, ip: ip(at), length: Number(length), permanent: true, temporary: false, deprecated: false };
}

for (const [title, addresses, problem] of [
  ['nothing', [], undefined],
  ['the lease', [address('10.5.17.1/24')], undefined],
  ["Docker's own choice", [address('172.17.0.1/16')], undefined],
  ['a part of the lease', [address('10.5.17.129/25')], undefined],
  [
    "another host's subnet",
    [address('10.5.18.1/24')],
    /docker0 has 10\.5\.18\.1\/24.*10\.5\.17\.0\/24.*restart Docker/,
  ],
  ["another bridge on another's subnet", [address('10.5.18.1/24', 'br-1')], undefined],
] as const) {
  test(`docker0 with ${title}`, (t) => {
    const found = bridgeProblem(addresses, BASIS);
    if (problem === undefined) t.is(found, undefined);
    else t.regex(found ?? '', problem);
  });
}

test('a docker0 that is left behind is told until Docker has followed', async (t) => {
  const clock = new VirtualClock();
  const kernel = hostKernel();
  const told: (string | undefined)[] = [];
  const stop = new AbortController();
  kernel.tables.addresses.push(address('10.5.18.1/24'));
  const onProblem = (problem: string | undefined): void => void told.push(problem);
  const parts = { kernel, clock, log: silentLog, resyncSeconds: 60, current: () => BASIS, onProblem };
  const running = watchDockerBridge(parts, stop.signal);
  await settle();
  t.is(told.length, 1);
  kernel.tables.addresses.splice(kernel.tables.addresses.length - 1, 1, address('10.5.17.1/24'));
  await clock.advance(120_000);
  t.deepEqual(told.slice(1), [undefined]);
  stop.abort(new Error('enough'));
  await t.throwsAsync(running, { message: 'enough' });
});

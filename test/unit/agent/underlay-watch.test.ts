import test, { type ExecutionContext } from 'ava';
import { type SurveyChange, surveyAgain, surveyUnderlay, type UnderlaySurvey } from '../../../agent/underlay-survey.ts';
import { UnderlayWatch } from '../../../agent/underlay-watch.ts';
import { silentLog } from '../../../config/log.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import type { FakeKernel } from '../../fakes/kernel.ts';
import { hostKernel } from '../backends/rig.ts';
import { ip, prefix, V4 } from '../backends/values.ts';

const OPTIONS = {
  ...{ iface: [], ifaceRegex: [], ifaceCanReach: undefined, publicIp: undefined, publicIpv6: undefined },
};
const ETH0 = { dev: 'eth0', length: 24, permanent: true, temporary: false, deprecated: false } as const;

interface Watched {
  readonly kernel: FakeKernel;
  readonly clock: VirtualClock;
  readonly told: SurveyChange[];
  readonly current: () => UnderlaySurvey;
  /** Puts the addresses of eth0 in the place of those that it has. */
  readonly address: (...texts: readonly string[]) => void;
}

async function watched(t: ExecutionContext): Promise<Watched> {
  const [kernel, clock] = [hostKernel(), new VirtualClock()];
  let current = await surveyUnderlay(kernel, OPTIONS, V4, silentLog);
  const told: SurveyChange[] = [];
  const watch = new UnderlayWatch({
    ...{ kernel, clock, log: silentLog, resyncSeconds: 60, current: () => current },
    look: (before, routes) => surveyAgain(kernel, OPTIONS, V4, before, routes),
    onChange: async (change) => {
      told.push(change);
      if (change.ok) current = change.survey;
    },
  });
  const ending = new AbortController();
  t.teardown(() => ending.abort());
  watch.run(ending.signal).catch(() => undefined);
  await clock.advance(2_000);
  const address = (...texts: readonly string[]): void => {
    kernel.tables.addresses = texts.map((text) => ({ ...ETH0, ip: ip(text) }));
    kernel.tables.changeLink('eth0', {});
  };
  return { kernel, clock, told, current: () => current, address };
}

test('nothing is told of a host that stays as it is, nor read but at each resync', async (t) => {
  const { kernel, clock, told } = await watched(t);
  kernel.forget();
  await clock.advance(600_000);
  t.deepEqual(told, []);
  t.true(kernel.calls.filter((call) => call === 'links').length <= 12);
});

test('a change is told once it has lasted a second, and once only', async (t) => {
  const { clock, told, address, current } = await watched(t);
  address('192.168.77.99');
  await clock.advance(900);
  t.is(told.length, 0);
  await clock.advance(600);
  t.is(told.length, 1);
  t.is(current().underlay.publicIp, ip('192.168.77.99'));
  await clock.advance(600_000);
  t.is(told.length, 1);
});

test('what comes and goes within a second is no change', async (t) => {
  const { clock, told, address } = await watched(t);
  for (let times = 0; times < 20; times++) {
    address();
    await clock.advance(400);
    address('192.168.77.10');
    await clock.advance(3_000);
  }
  t.deepEqual(told, []);
});

test('an address that is lost is told, and that it is back', async (t) => {
  const { clock, told, address } = await watched(t);
  address();
  await clock.advance(10_000);
  address('192.168.77.10');
  await clock.advance(10_000);
  t.deepEqual(
    told.map((change) => (change.ok ? change.survey.underlay.ip : 'lost')),
    ['lost', ip('192.168.77.10')],
  );
});

test('a change without an event is found at the next resync', async (t) => {
  const { kernel, clock, told, address } = await watched(t);
  kernel.loses = 'silently';
  address('192.168.77.99');
  await clock.advance(70_000);
  t.is(told.length, 1);
});

test('a storm of events costs few looks; default routes are read where they are in doubt only', async (t) => {
  const { kernel, clock } = await watched(t);
  kernel.forget();
  for (let times = 0; times < 1_000; times++) {
    kernel.tables.addDevice(`veth${times}`);
    await clock.advance(10);
  }
  const count = (call: string): number => kernel.calls.filter((one) => one === call).length;
  t.true(count('links') <= 60);
  t.is(count('routes'), 0);
});

test('another gateway is followed: no lease may cover it', async (t) => {
  const { kernel, clock, current } = await watched(t);
  const plain = { metric: 0, protocol: 3, onlink: false, nexthopId: undefined, type: 1 };
  kernel.tables.removeRoutes(() => true);
  kernel.tables.addRoute({ dst: prefix('0.0.0.0/0'), dev: 'eth0', gateway: ip('192.168.77.254'), ...plain });
  await clock.advance(2_000);
  t.deepEqual(current().gateways, [ip('192.168.77.254')]);
});

test('where the kernel does not answer it is looked at again', async (t) => {
  const { kernel, clock, told, address } = await watched(t);
  kernel.failNext('links', 'addresses');
  address('192.168.77.99');
  await clock.advance(30_000);
  t.is(told.length, 1);
});

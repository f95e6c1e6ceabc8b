import test from 'ava';
import { applyOperations } from '../../../backends/applying.ts';
import { KernelView } from '../../../backends/kernel-view.ts';
import { type KernelObject, keyOf, type Nexthop, type Route } from '../../../backends/state.ts';
import { FakeKernel } from '../../fakes/kernel.ts';
import { refusal } from '../../fakes/kernel-tables.ts';
import { ip, prefix } from './values.ts';

const HOP = { dev: 'flannel-v6.1', gateway: ip('fd00:5:0:2::'), onlink: true } as const;
const NEXTHOP: Nexthop = { kind: 'nexthop', id: 0x54000002, ...HOP };
const ROUTE: Route = { kind: 'route', dst: prefix('fd00:5:0:2::/64'), ...HOP, nexthopId: undefined };

/** A host where somebody's route sends all peers to the underlay. */
function astray(): FakeKernel {
  const kernel = new FakeKernel();
  for (const dev of ['eth0', HOP.dev]) kernel.tables.addDevice(dev);
  const foreign = { metric: 1024, protocol: 186, onlink: false, nexthopId: undefined, type: 1 } as const;
  kernel.tables.addRoute({ ...foreign, dst: prefix('fd00:5::/32'), dev: 'eth0', gateway: ip('fd77::1') });
  return kernel;
}

function applied(kernel: FakeKernel, ...objects: readonly KernelObject[]): ReturnType<typeof applyOperations> {
  const operations = objects.map((object) => ({ verb: 'set', object, key: keyOf(object), why: 'missing' }) as const);
  return applyOperations(kernel, new KernelView(kernel, [HOP.dev], [6]), operations);
}

for (const objects of [[ROUTE], [NEXTHOP, { ...ROUTE, nexthopId: NEXTHOP.id }]]) {
  test(`an IPv6 gateway that others send elsewhere is taken all the same: ${objects.length} objects`, async (t) => {
    const kernel = astray();
    t.deepEqual(
      await applied(kernel, ...objects),
      objects.map(() => undefined),
    );
    t.deepEqual(
      kernel.tables.routes.map(({ dst, dev }) => [dst, dev]),
      [
        ['fd00:5::/32', 'eth0'],
        ['fd00:5:0:2::/64', HOP.dev],
      ],
      'nothing is left of what stood in',
    );
  });
}

test("somebody's route to the gateway alone is left, and ours refused", async (t) => {
  const kernel = astray();
  const foreign = { metric: 1024, protocol: 186, onlink: false, nexthopId: undefined, type: 1 } as const;
  kernel.tables.addRoute({ ...foreign, dst: prefix('fd00:5:0:2::/128'), dev: 'eth0', gateway: ip('fd77::1') });
  const before = [...kernel.tables.routes];
  const [answer] = await applied(kernel, ROUTE);
  t.is(answer?.errno, 'EINVAL');
  t.deepEqual(kernel.tables.routes, before);
});

test('what is refused for another reason is not tried twice', async (t) => {
  const kernel = astray();
  kernel.refuses = () => refusal('ENOSPC', 'full');
  const [answer] = await applied(kernel, ROUTE);
  t.is(answer?.errno, 'ENOSPC');
  t.is(kernel.operations.length, 1);
});

/** The keys that this host stands on, changed under its feet by an operator, a script, or an expiry. */

import { PREFIX } from '../support/agent.ts';
import type { Fault } from './fault.ts';
import { CONFIG, CONFIG_KEY, macIn, type Scene } from './scene.ts';

const WITHIN_MS = 1_000;
/** No peer is without the route for longer than 50 ms: while nothing is answered, ping sends every 18 ms. */
const GAP = 3;

function leases(name: string, breaks: Fault['breaks'], more: Partial<Fault> = {}): Fault {
  return { group: 'leases', name, withinMs: WITHIN_MS, loses: 0, breaks, ...more };
}

/** Kernels as before, and the own lease stands in etcd with the value that it had, on an etcd lease. */
async function isHeldAgain(scene: Scene): Promise<boolean> {
  const { value, lease } = await scene.subject.lease();
  return value === scene.leaseValue && lease !== '0' && (await scene.isAsBefore());
}

const HELD: Partial<Fault> = { holds: isHeldAgain, loses: GAP };

/** The value put in place of ours, on the etcd lease that the key hangs on. */
async function rewrite({ subject, etcd, leaseValue }: Scene, edit: (value: string) => string): Promise<void> {
  const { key, lease } = await subject.lease();
  await etcd.ctl(['put', `--lease=${lease}`, key], { input: edit(leaseValue) });
}

export const LEASES: readonly Fault[] = [
  leases('own key deleted', ({ etcd, subject }) => etcd.ctl(['del', subject.leaseKey]), HELD),
  leases(
    'own etcd lease revoked',
    async ({ etcd, subject }) => etcd.ctl(['lease', 'revoke', (await subject.lease()).lease]),
    HELD,
  ),
  leases('own value overwritten with nonsense', (scene) => rewrite(scene, () => '{"PublicIP":'), HELD),
  leases(
    'own value with another MAC',
    (scene) => rewrite(scene, (value) => value.replace(macIn(value), '4e:00:00:00:00:aa')),
    HELD,
  ),
  leases(
    'all leases deleted',
    async (scene) => {
      await scene.etcd.ctl(['del', '--prefix', `${PREFIX}/subnets/`]);
      await scene.residentReturns();
    },
    HELD,
  ),
  leases(
    'everything beside config and leases deleted',
    ({ etcd }) => etcd.ctl(['del', '--prefix', `${PREFIX}/tartan/`]),
    {
      holds: isHeldAgain,
      only: { subject: 'tartan' },
    },
  ),
  leases('network config deleted', ({ etcd }) => etcd.ctl(['del', CONFIG_KEY]), {
    undo: ({ etcd }) => etcd.put(CONFIG_KEY, CONFIG),
  }),
  leases('network config is nonsense', ({ etcd }) => etcd.put(CONFIG_KEY, '{"Network":'), {
    undo: ({ etcd }) => etcd.put(CONFIG_KEY, CONFIG),
  }),
];

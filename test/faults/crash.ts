/** The agent ended, or stopped in its tracks, at any moment. The kernel goes on without it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from './fault.ts';
import { missChanges, withNewcomer } from './newcomer.ts';
import type { Scene } from './scene.ts';

/** From the start of the new process. */
const WITHIN_MS = 5_000;
const SHORT_LEASE_S = 5;
/** From the exec of the agent to the blow, ms: within reading its files, connecting, claiming, programming. */
const MOMENTS = [20, 100, 150, 200, 250, 300, 350, 400, 500, 700];

function crash(name: string, breaks: Fault['breaks'], more: Partial<Fault> = {}): Fault {
  const fault: Fault = { group: 'crash', name, withinMs: WITHIN_MS, loses: 0, breaks, ...more };
  return more.provesLifeAfter === undefined ? withNewcomer(fault) : fault;
}

/** What a reboot takes: devices and /run. The state directory stays, and dockerd switches forwarding on again. */
async function loseMemory({ shell, ip }: Scene): Promise<void> {
  await ip('link del flannel.1', 'nexthop flush proto 84');
  await shell('rm -rf /run/flannel /run/tartan');
}

export const CRASH: readonly Fault[] = [
  crash('killed and started again', async (scene) => {
    await scene.crash();
    scene.start();
  }),
  crash('ended in order and started again', async (scene) => {
    await scene.subject.agent.stop();
    scene.start();
  }),
  crash('killed at ten moments of its start', async (scene) => {
    await scene.crash();
    for (const ms of MOMENTS) {
      scene.start();
      await sleep(ms);
      await scene.crash();
    }
    scene.start();
  }),
  crash('killed; meanwhile a peer left and another came', async (scene) => {
    await missChanges(scene, () => scene.crash());
    scene.start();
  }),
  crash(
    'killed; meanwhile the device was deleted',
    async (scene) => {
      await scene.crash();
      await scene.ip('link del flannel.1');
      scene.start();
    },
    { loses: Number.POSITIVE_INFINITY },
  ),
  crash(
    'killed; state and files lost',
    async (scene) => {
      await scene.crash();
      await scene.shell('rm -rf /run/flannel /run/tartan /var/lib/tartan');
      scene.start();
    },
    { undo: (scene) => scene.restart() },
  ),
  crash(
    'killed; state and files damaged',
    async (scene) => {
      await scene.crash();
      await scene.shell(
        `for file in /run/flannel/subnet.env $(find /var/lib/tartan -type f); do echo '{"' >$file; done`,
      );
      scene.start();
    },
    { undo: (scene) => scene.restart() },
  ),
  crash(
    'host rebooted',
    async (scene) => {
      await scene.crash();
      await loseMemory(scene);
      scene.start();
    },
    { loses: Number.POSITIVE_INFINITY },
  ),
  crash(
    'host rebooted while etcd is away',
    async (scene) => {
      await scene.crash();
      await scene.etcd.stop();
      await loseMemory(scene);
      scene.start();
    },
    // What the proof of life needs comes back only when the network did without it.
    { loses: Number.POSITIVE_INFINITY, withinMs: 2 * WITHIN_MS, provesLifeAfter: (scene) => scene.etcd.start() },
  ),
  crash('suspended for 5 s; a peer left and another came', async (scene) => {
    const { agent } = scene.subject;
    await missChanges(scene, async () => agent.signal('SIGSTOP'));
    await sleep(5_000);
    agent.signal('SIGCONT');
  }),
  crash(
    'suspended while its lease is revoked',
    async (scene) => {
      const { agent } = scene.subject;
      agent.signal('SIGSTOP');
      await scene.etcd.ctl(['lease', 'revoke', (await scene.subject.lease()).lease]);
      await sleep(1_000);
      agent.signal('SIGCONT');
    },
    { loses: Number.POSITIVE_INFINITY },
  ),
  crash(
    'suspended for longer than its lease',
    async (scene) => {
      await scene.subject.agent.stop();
      scene.start(`--lease-ttl=${SHORT_LEASE_S}`);
      await scene.hasLeaseOf(SHORT_LEASE_S);
      const { agent } = scene.subject;
      agent.signal('SIGSTOP');
      await sleep((SHORT_LEASE_S + 3) * 1000);
      agent.signal('SIGCONT');
    },
    { loses: Number.POSITIVE_INFINITY, only: { subject: 'tartan' }, spoils: true },
  ),
];

/** etcd away, elsewhere, in the past, or empty. What the kernels hold must not change because of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from './fault.ts';
import { missChanges, withNewcomer } from './newcomer.ts';
import { paperPeer } from './paper-peer.ts';
import { CONFIG, CONFIG_KEY, type Scene } from './scene.ts';

/** From etcd's return. */
const WITHIN_MS = 5_000;
const AWAY_MS = 10_000;
/** A store that went back: the minute in which its holders claim again, and what is absent then is swept. */
const GRACE_MS = 60_000;

function etcd(name: string, breaks: Fault['breaks'], more: Partial<Fault> = {}): Fault {
  const fault: Fault = { group: 'etcd', name, withinMs: WITHIN_MS, loses: 0, breaks, ...more };
  return more.holds === undefined ? withNewcomer(fault) : fault;
}

function three(name: string, breaks: Fault['breaks'], more: Partial<Fault> = {}): Fault {
  return etcd(name, breaks, { only: { etcd: 'three' }, ...more });
}

const GHOST = paperPeer(243);

/** The subject is cut off while peers change. `after`: what else is done to the store then. */
async function outOfReach(scene: Scene, after: () => Promise<unknown> = async () => {}): Promise<void> {
  await missChanges(scene, () => scene.cutOff());
  await after();
  await sleep(AWAY_MS);
  await scene.reconnect();
}

async function compact({ etcd: store }: Scene): Promise<void> {
  const answer: { readonly header: { readonly revision: number } } = JSON.parse(
    await store.ctl(['get', CONFIG_KEY, '-w', 'json']),
  );
  await store.ctl(['compact', String(answer.header.revision)]);
}

/** With the leases of both hosts in the store, too. */
async function holdsAll(scene: Scene): Promise<boolean> {
  const leased = await Promise.all(scene.members.map((member) => member.leaseExists()));
  return leased.every(Boolean) && (await scene.isAsBefore());
}

export const ETCD: readonly Fault[] = [
  etcd('stopped for 10 s', async (scene) => {
    await scene.etcd.stop('SIGTERM');
    await scene.standsStillFor(AWAY_MS);
    await scene.etcd.start();
  }),
  etcd('killed and started again', async ({ etcd: store }) => {
    await store.stop();
    await store.start();
  }),
  etcd('hangs for 10 s', async (scene) => {
    scene.etcd.freeze();
    await scene.standsStillFor(AWAY_MS);
    scene.etcd.thaw();
  }),
  etcd('swallowed by a black hole for 10 s', async (scene) => {
    await Promise.all(scene.etcd.members.map((member) => member.unplug()));
    await scene.standsStillFor(AWAY_MS);
    await Promise.all(scene.etcd.members.map((member) => member.plug()));
  }),
  etcd('out of reach for 10 s: a peer left, another came', (scene) => outOfReach(scene)),
  etcd('the same, and compacted meanwhile', (scene) => outOfReach(scene, () => compact(scene))),
  etcd(
    'the same, and its token ran out meanwhile',
    async (scene) => {
      await scene.askForUsers();
      await outOfReach(scene);
    },
    { only: { etcd: 'one' }, spoils: true },
  ),
  etcd(
    'restored from a snapshot older than all leases',
    async (scene) => {
      await scene.welcome(GHOST);
      await scene.etcd.restore(scene.beginning);
    },
    // Whose holder does not come back is swept after the minute in which it might have.
    { holds: holdsAll, withinMs: GRACE_MS + 10_000 },
  ),
  etcd(
    'wiped',
    async (scene) => {
      await scene.etcd.wipe();
      await scene.etcd.start();
      await scene.standsStillFor(3_000);
      await scene.etcd.put(CONFIG_KEY, CONFIG);
      await scene.residentReturns();
    },
    { holds: holdsAll, withinMs: GRACE_MS },
  ),
  three('the leader of three gone for 10 s', async (scene) => {
    const leader = await scene.etcd.leader();
    await leader.stop();
    await scene.goesOn();
    await scene.standsStillFor(AWAY_MS);
    await leader.start();
  }),
  three('the leader of three hangs for 10 s', async (scene) => {
    const leader = await scene.etcd.leader();
    leader.freeze();
    await scene.standsStillFor(AWAY_MS);
    leader.thaw();
  }),
  three('one of three swallowed by a black hole', async (scene) => {
    await scene.etcd.member(2).unplug();
    await scene.standsStillFor(AWAY_MS);
    await scene.etcd.member(2).plug();
  }),
  three('two of three gone for 10 s', async (scene) => {
    const [, ...lost] = scene.etcd.members;
    await Promise.all(lost.map((member) => member.stop()));
    await scene.standsStillFor(AWAY_MS);
    await Promise.all(lost.map((member) => member.start()));
  }),
  three('the lead handed to another', (scene) => scene.etcd.moveLeader()),
  three(
    'certificates of another authority, for all',
    async (scene) => {
      await scene.lab.rotatePki({ hosts: true });
      await scene.etcd.stop('SIGTERM');
      await scene.etcd.start();
    },
    { withinMs: 60_000 },
  ),
];

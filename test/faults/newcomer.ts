/** For what keeps an agent from following etcd while no kernel changes: a peer that came is what shows it in step again. */
import type { Fault } from './fault.ts';
import { paperPeer } from './paper-peer.ts';
import type { Scene } from './scene.ts';

const COMES = paperPeer(242);

/** Its lease is put when the cause is over, unless `breaks` has put it earlier. */
export function withNewcomer(fault: Fault): Fault {
  return {
    ...fault,
    breaks: async (scene) => {
      await fault.breaks(scene);
      await scene.put(COMES);
    },
    holds: (scene) => scene.isAsBefore(COMES),
    undo: async (scene) => {
      await scene.drop(COMES);
      await fault.undo?.(scene);
    },
  };
}

const LEAVES = paperPeer(241);

/** One peer leaves and another comes while `away` keeps the subject from seeing it. */
export async function missChanges(scene: Scene, away: () => Promise<unknown>): Promise<void> {
  await scene.welcome(LEAVES);
  await away();
  await scene.drop(LEAVES);
  await scene.put(COMES);
}

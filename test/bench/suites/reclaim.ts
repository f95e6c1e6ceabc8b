import { PREFIX } from '../../support/agent.ts';
import { eventually } from '../../support/eventually.ts';
import { createLab, type Lab } from '../../support/hosts.ts';
import { Member } from '../../support/member.ts';
import type { Contestant } from '../contestant.ts';
import { RouteClock } from '../course.ts';
import { Notebook, quantile } from '../statistics.ts';
import type { Suite } from '../suite.ts';

const HOLDERS = 10;
/** Five within a minute are put right at once; who is robbed more often than that rests in between. */
const ROBBERIES = 5;
const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';

async function rob(lab: Lab, clock: RouteClock, { network }: Member): Promise<number> {
  const key = `${PREFIX}/subnets/${network.replace('/', '-')}`;
  const before = clock.absences(network).length;
  await lab.etcd.ctl(['del', key]);
  await eventually(`the route to ${network} is back`, () => clock.absences(network).length > before, { everyMs: 20 });
  return clock.absences(network).at(-1) ?? Number.NaN;
}

async function measure({ argv }: Contestant): Promise<readonly number[]> {
  const lab = await createLab({ hosts: HOLDERS + 1 });
  try {
    await lab.etcd.put(`${PREFIX}/config`, CONFIG);
    const [peer, ...holders] = lab.hosts.map((host) => new Member(lab, host, { name: 'tartan', argv }));
    if (!peer) return [];
    const clock = await RouteClock.start(peer.host);
    for (const member of [peer, ...holders]) await member.start();
    await clock.arrivals(holders.map(({ network }) => network));
    const absences: number[] = [];
    for (let round = 0; round < ROBBERIES; round++)
      for (const holder of holders) absences.push(await rob(lab, clock, holder));
    return absences;
  } finally {
    lab.destroy();
  }
}

export const reclaim: Suite = {
  name: 'reclaim',
  title: `a live host's lease is deleted: how long a peer is without its route (${HOLDERS * ROBBERIES} a run)`,
  run: async (plan) => {
    const notes = new Notebook();
    // A flanneld ends when its lease is deleted: nothing to compare with.
    const [ours] = plan.contestants;
    for (let run = 0; ours && run < plan.runs; run++) {
      plan.say(`reclaim: run ${run + 1} of ${plan.runs}`);
      const absences = await measure(ours);
      notes.add('without the route, p50', 'ms', ours.name, quantile(absences, 0.5));
      notes.add('without the route, p99', 'ms', ours.name, quantile(absences, 0.99));
      notes.aim('without the route, p99', 50);
    }
    return notes.figures;
  },
};

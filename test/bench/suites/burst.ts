import { joiningFrom, LARGE_NETWORK, peerSubnet } from '../../support/peers.ts';
import type { Contestant } from '../contestant.ts';
import { type Course, onCourse, withAgent } from '../course.ts';
import { Notebook } from '../statistics.ts';
import type { Suite } from '../suite.ts';

const HOSTS = { reduced: 200, usual: 1000, full: 1000 } as const;
/** While nobody watches: what the puts take in themselves. */
const ALONE = 'etcd alone';

interface Burst {
  /** From the first put to the last route, ms. */
  readonly joins: number;
  /** From etcd's answer to the last put on. */
  readonly after: number;
  /** From the request that ends the etcd lease to the last route's going. */
  readonly expiries: number;
}

function latest(instants: readonly number[]): number {
  return instants.reduce((last, at) => Math.max(last, at), 0);
}

async function measure(course: Course, contestant: Contestant, hosts: number): Promise<Burst> {
  const clock = await course.clockRoutes();
  return await withAgent(course, contestant, async (run) => {
    await run.startMs();
    const first = joiningFrom(await course.ownSubnet(), hosts);
    const destinations = Array.from({ length: hosts }, (_, i) => peerSubnet(first + i));
    const { lease, sentAt, answeredAt } = await course.burst(first, hosts);
    const last = latest(await clock.arrivals(destinations));
    const revoked = await course.revoke(lease);
    const gone = latest(await clock.departures(destinations));
    return { joins: last - sentAt, after: last - answeredAt, expiries: gone - revoked.sentAt };
  }).finally(() => clock.stop());
}

async function measureEtcd(course: Course, hosts: number): Promise<number> {
  const { lease, sentAt, answeredAt } = await course.burst(joiningFrom('', hosts), hosts);
  await course.revoke(lease);
  return answeredAt - sentAt;
}

export const burst: Suite = {
  name: 'burst',
  title: 'many hosts at once: first put → last route; all of them expire in one revision: revoked → last route gone',
  run: (plan) =>
    onCourse(LARGE_NETWORK, async (course) => {
      const notes = new Notebook();
      const hosts = HOSTS[plan.size];
      const named = hosts.toLocaleString('en');
      for (let run = 0; run < plan.runs; run++) {
        for (const { name, ...contestant } of plan.contestants) {
          plan.say(`burst: run ${run + 1} of ${plan.runs}, ${name}`);
          const { joins, after, expiries } = await measure(course, { name, ...contestant }, hosts);
          notes.add(`${named} joins`, 'ms', name, joins);
          notes.add(`${named} joins, from the last answer on`, 'ms', name, after);
          notes.add(`${named} expiries`, 'ms', name, expiries);
        }
        notes.add(`${named} joins`, 'ms', ALONE, await measureEtcd(course, hosts));
      }
      notes.aim(`${named} joins`, 1.2, ALONE);
      notes.aim(`${named} expiries`, 0.33, 'flanneld');
      return notes.figures;
    }),
};

/** What happens to etcd. None of it may cost anybody a packet. */
import { type Fault, Inapplicable } from '../fault.ts';

/** A lease that was about to be renewed outlives this. */
const OUTAGE = [0.2, 6] as const;

function ended(name: string, weight: number, signal: NodeJS.Signals, lasts: Fault['lasts'] & {}): Fault {
  return {
    ...{ name, lane: 'etcd', weight, lasts },
    async apply({ fleet, seconds }) {
      fleet.etcdTrouble.begin();
      await fleet.lab.etcd.stop(signal);
      const lift = async (): Promise<void> => {
        await fleet.lab.etcd.start();
        fleet.etcdIsBack();
      };
      return { said: `${signal}, started again after ${seconds} s`, lift };
    },
  };
}

function frozen(name: string, weight: number, lasts: Fault['lasts'] & {}): Fault {
  return {
    ...{ name, lane: 'etcd', weight, lasts },
    apply({ fleet, seconds }) {
      fleet.etcdTrouble.begin();
      fleet.lab.etcd.freeze();
      const lift = (): void => {
        fleet.lab.etcd.thaw();
        fleet.etcdIsBack();
      };
      return Promise.resolve({ said: `SIGSTOP for ${seconds} s`, lift });
    },
  };
}

export const etcdFaults: readonly Fault[] = [
  ended('etcd killed', 3, 'SIGKILL', OUTAGE),
  ended('etcd restarted in order', 1, 'SIGTERM', [0, 1]),
  ended('etcd killed for longer than the leases', 0.3, 'SIGKILL', [18, 22]),
  frozen('etcd frozen', 3, OUTAGE),
  frozen('etcd frozen for longer than the leases', 0.3, [18, 22]),
  {
    ...{ name: 'etcd compacted', lane: 'etcd', weight: 3 },
    async apply({ fleet }) {
      try {
        // The run's own watch must not miss what is compacted.
        const revision = await fleet.caughtUp();
        await fleet.lab.etcd.ctl(['--command-timeout=3s', 'compaction', String(revision)]);
        return { said: `up to revision ${revision}` };
      } catch {
        throw new Inapplicable('etcd does not answer');
      }
    },
  },
];

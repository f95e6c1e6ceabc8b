/** What happens to an agent's process. None of it may cost a packet, unless the lease runs out meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { PREFIX, TARTAN } from '../../support/agent.ts';
import { type Fault, Inapplicable, type Target } from '../fault.ts';
import type { Station } from '../station.ts';

/** Shorter than any lease lasts after its last renewal. */
const SHORT = [0, 5] as const;
/** Longer than a lease lasts. */
const LONG = [18, 24] as const;

/** etcd may be away, for a machine that is short of processors. */
const DOWN_WITHIN_MS = 90_000;
const GONE_WITHIN_MS = 5_000;

type Seconds = readonly [number, number];

function startAgain(station: Station): void {
  station.start();
  station.trouble.end();
}

function ended(name: string, weight: number, signal: NodeJS.Signals, lasts: Seconds): Fault {
  return {
    ...{ name, lane: 'agent', weight, lasts },
    async apply({ station, seconds }) {
      station.trouble.begin();
      await station.end(signal);
      return { said: `${signal}, started again after ${seconds} s`, lift: () => startAgain(station) };
    },
  };
}

function frozen(name: string, weight: number, lasts: Seconds): Fault {
  return {
    ...{ name, lane: 'agent', weight, lasts },
    apply({ station, seconds }) {
      if (!station.isRunning) throw new Inapplicable('there is no agent');
      station.trouble.begin();
      station.freeze();
      const lift = (): void => {
        station.thaw();
        station.trouble.end();
      };
      return Promise.resolve({ said: `SIGSTOP for ${seconds} s`, lift });
    },
  };
}

function takenDown(name: string, flags: readonly string[]): Fault {
  return {
    ...{ name, lane: 'agent', weight: 1, lasts: [0, 6] },
    async apply({ fleet, station, seconds }) {
      station.trouble.begin();
      // A subnet that is given back, or forgotten, may be lost.
      station.mayMove ||= flags.length > 0;
      const isUp = (await station.status()) !== undefined;
      const agent = station.disown();
      const disturbance = fleet.disturb(station, name, { lasts: true });
      const [node, ...main] = TARTAN;
      const args = [...main, 'down', `--etcd-endpoints=${fleet.lab.etcd.endpoint}`, ...flags];
      const { status, stderr } = await station.host.exec(node, args, { timeoutMs: DOWN_WITHIN_MS });
      // It lets go of its lock a moment before it ends.
      await Promise.race([agent?.exited, sleep(GONE_WITHIN_MS)]);
      if (isUp && agent?.running === true) fleet.journal.violate(`${name} left the agent of ${station.name} running`);
      // One that was about to start had no lock yet by which it could be found.
      await agent?.kill();
      const lift = (): void => {
        startAgain(station);
        fleet.over(disturbance);
      };
      const answer = status === 0 ? '' : ` (exit ${status}: ${stderr.trim()})`;
      return { said: `started again after ${seconds} s${answer}`, lift };
    },
  };
}

async function forgetState(station: Station): Promise<void> {
  station.trouble.begin();
  station.mayMove = true;
  await station.end('SIGKILL');
  await station.host.run('sh', ['-c', 'rm -rf /var/lib/tartan /run/flannel']);
}

const stateLost: Fault = {
  ...{ name: 'state lost', lane: 'agent', weight: 1, lasts: [0, 2] },
  async apply({ station }) {
    await forgetState(station);
    return { said: 'killed, its state directory and files removed', lift: () => startAgain(station) };
  },
};

/** The operator who reinstalls a host deletes its lease, if etcd lets him. */
async function deleteLease({ fleet, station }: Target): Promise<string> {
  const own = fleet.history.of(station.host.ip);
  if (own === undefined) return 'has no lease';
  const key = `${PREFIX}/subnets/${own.subnet.replace('/', '-')}`;
  const deleted = fleet.lab.etcd.ctl(['--command-timeout=3s', 'del', key]);
  return await deleted.then(
    () => `its lease of ${own.subnet} deleted`,
    () => `etcd does not delete its lease of ${own.subnet}`,
  );
}

const reinstalled: Fault = {
  ...{ name: 'host reinstalled', lane: 'agent', weight: 1.5, lasts: [0, 2] },
  async apply(target) {
    const { fleet, station, pick } = target;
    const disturbance = fleet.disturb(station, 'host reinstalled', { lasts: true });
    await forgetState(station);
    const machineId = Math.floor(pick * 2 ** 32)
      .toString(16)
      .padStart(32, '0');
    await station.host.run('sh', ['-c', 'echo "$1" >/etc/machine-id', 'sh', machineId]);
    // What it had in its kernel is gone with its disk; either may be gone already.
    await station.host.exec('ip', ['link', 'del', 'flannel.1']);
    await station.host.exec('ip', ['nexthop', 'flush', 'proto', '84']);
    const lease = await deleteLease(target);
    const lift = (): void => {
      startAgain(station);
      fleet.over(disturbance);
    };
    return { said: `killed, everything removed, another machine-id, ${lease}`, lift };
  },
};

export const agentFaults: readonly Fault[] = [
  ended('agent killed', 8, 'SIGKILL', SHORT),
  ended('agent killed for longer than its lease', 1, 'SIGKILL', LONG),
  ended('agent restarted in order', 4, 'SIGTERM', [0, 1]),
  frozen('agent frozen', 4, SHORT),
  frozen('agent frozen for longer than its lease', 1, LONG),
  takenDown('tartan down', []),
  takenDown('tartan down --release', ['--release']),
  takenDown('tartan down --purge', ['--purge']),
  stateLost,
  reinstalled,
];

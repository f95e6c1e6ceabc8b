/**
 * kill -9 at any moment: the agent dies as it enters the nth call of every sort that changes something, for n from 1 until
 * it lives to be in step. Each time what is on disk is whole, and the next start comes back to the same lease, in step,
 * with nothing left over. Where a network was up before, not one packet may be lost through all of it.
 *
 * TARTAN_CRASH=all takes every single point; else calls that are made often are sampled.
 */
import test, { type ExecutionContext } from 'ava';
import { PREFIX } from '../support/agent.ts';
import { type CrashPoint, doom } from '../support/crash-point.ts';
import { eventually } from '../support/eventually.ts';
import type { Container } from '../support/host.ts';
import { createLab, type Lab } from '../support/hosts.ts';
import { PacketStream } from '../support/packet-stream.ts';
import { REAL_HOSTS_FROM } from '../support/peers.ts';
import { setPeers } from '../support/phantom-peers.ts';
import { needs } from '../support/require.ts';
import { about, CLUSTER_FILE, DOCKER_FILE, newFile, STATE_FILE, SUBNET_FILE, Victim } from './victim.ts';

const ALL = process.env['TARTAN_CRASH'] === 'all';
const VICTIMS = 3;
/** What can't be reached is not searched for for ever. */
const MOST = 60;

/** Calls of one sort, at every `step`th. */
interface Sort {
  readonly call: string;
  readonly path?: string;
  readonly step?: number;
}

const WRITING = ['openat', 'write', 'fsync', 'rename'];
const WRITING_IN_FULL = ['unlink', 'openat', 'write', 'fchmod', 'fsync', 'rename'];

/** How a file is replaced, call by call; one that is replaced again and again need not die at each of them. */
function writing(file: string, calls = WRITING): readonly Sort[] {
  const path = newFile(file);
  return (ALL ? WRITING_IN_FULL : calls).map((call) => ({ call, path }));
}

const SAMPLED = ALL ? 1 : 3;
const STATE = writing(STATE_FILE, ['write', 'rename']);
const KERNEL: Sort = { call: 'sendmsg', step: SAMPLED };
const ETCD: Sort = { call: 'writev', step: SAMPLED };
// The longest first: the victims share them.
const FIRST_START: readonly Sort[] = [
  KERNEL,
  ETCD,
  { call: 'mkdir', step: SAMPLED },
  ...STATE,
  ...writing(SUBNET_FILE),
  ...writing(DOCKER_FILE, ['rename']),
  { call: 'bind' },
];
const RESTART: readonly Sort[] = [KERNEL, ETCD, ...STATE, { call: 'bind' }];

const NARROW = '10.64.0.0/11';
const WIDE = '10.64.0.0/10';

function configure({ etcd }: Lab, network: string): Promise<void> {
  const config = { Network: network, SubnetMin: REAL_HOSTS_FROM, SubnetLen: 24, Backend: { Type: 'vxlan' } };
  return etcd.put(`${PREFIX}/config`, JSON.stringify(config));
}

let opened: Promise<Lab> | undefined;

/** One lab for all; the last host is nobody's victim. */
function lab(): Promise<Lab> {
  opened ??= createLab({ hosts: VICTIMS + 1 }).then(async (made) => {
    await configure(made, NARROW);
    return made;
  });
  return opened;
}

test.after.always('the lab is taken down', async () => {
  // One that could not be made has cleaned up, and its test has failed.
  const made = await opened?.catch(() => undefined);
  made?.destroy();
});

/** All points of all sorts, shared among the victims. `attempt` says whether the agent died there. */
async function everywhere(
  victims: readonly Victim[],
  sorts: readonly Sort[],
  attempt: (victim: Victim, point: CrashPoint) => Promise<boolean>,
): Promise<number> {
  const rest = sorts.values();
  let points = 0;
  const work = async (victim: Victim): Promise<void> => {
    for (const { call, path, step = 1 } of rest) {
      for (let nth = 1; nth <= MOST && (await attempt(victim, { call, path, nth })); nth += step) points++;
    }
  };
  await Promise.all(victims.map(work));
  return points;
}

type T = ExecutionContext<unknown>;

async function isSound(t: T, victim: Victim, point: CrashPoint): Promise<void> {
  t.deepEqual(await victim.brokenFiles(), [], about(victim, point));
}

async function comesBack(t: T, victim: Victim, point: CrashPoint, peers?: number): Promise<void> {
  await victim.start(peers);
  t.deepEqual(await victim.lastingFaults(), [], about(victim, point));
}

interface Network {
  readonly victims: readonly Victim[];
  readonly containers: readonly Container[];
}

let built: Promise<Network> | undefined;

/** Hosts with an agent and a container, in step with each other: made once, and found again. */
async function network(made: Lab): Promise<Network> {
  built ??= build(made);
  const { victims, containers } = await built;
  for (const victim of victims) await victim.restart();
  return { victims: victims.slice(0, VICTIMS), containers };
}

async function build(made: Lab): Promise<Network> {
  const victims = made.hosts.map((host) => new Victim(made, host));
  await Promise.all(victims.map((victim) => victim.start()));
  await Promise.all(victims.map((victim) => victim.inStep(VICTIMS)));
  const containers = await Promise.all(
    victims.map(async ({ host }) => {
      const env = await host.subnetEnv();
      if (env === undefined) throw new Error(`${host.name} has no subnet`);
      return await host.bridge(env);
    }),
  );
  return { victims, containers };
}

/** Packets from the last host to each victim while `work` goes on. */
async function withTraffic(t: T, containers: readonly Container[], work: () => Promise<void>): Promise<void> {
  const [last] = containers.slice(-1);
  if (last === undefined) throw new Error('no containers');
  const streams = await Promise.all(containers.slice(0, VICTIMS).map((to) => PacketStream.start(last, to)));
  await work();
  for (const { title, sent, lost, oddities } of await Promise.all(streams.map((stream) => stream.stop()))) {
    t.log(`${title}: ${sent} packets, ${lost.length} lost`);
    t.deepEqual({ lost, oddities }, { lost: [], oddities: [] }, title);
  }
}

/*
 * What a first start does in this order, and where it is cut: state.json (claim id) ─ status socket ─ etcd: list, grant ─
 * state.json (MAC) ─ device ─ claim ─ address ─ state.json (lease) ─ subnet.env ─ docker options ─ peers.
 */
test.serial('killed at any call of a first start, it comes back whole, with one lease', async (t) => {
  if (!needs(t, 'lab', 'strace')) return;
  t.timeout(600_000);
  const made = await lab();
  const victims = made.hosts.slice(0, VICTIMS).map((host) => new Victim(made, host));
  const points = await everywhere(victims, FIRST_START, async (victim, point) => {
    await victim.forget();
    const killed = await victim.startDoomed(point);
    if (!killed) return false;
    await isSound(t, victim, point);
    await comesBack(t, victim, point);
    return true;
  });
  t.log(`${points} points`);
  await Promise.all(victims.map((victim) => victim.forget()));
});

test.serial('killed at any call of a restart, it keeps its lease, and no packet is lost', async (t) => {
  if (!needs(t, 'lab', 'strace')) return;
  t.timeout(600_000);
  const { victims, containers } = await network(await lab());
  const before = await victims[0]?.leases();
  await withTraffic(t, containers, async () => {
    const points = await everywhere(victims, RESTART, async (victim, point) => {
      await victim.kill();
      if (!(await victim.startDoomed(point, VICTIMS))) return false;
      await isSound(t, victim, point);
      await comesBack(t, victim, point, VICTIMS);
      return true;
    });
    t.log(`${points} points`);
  });
  t.deepEqual(await victims[0]?.leases(), before);
});

test.serial('killed at any send of a batch of peers, it sweeps what is left, and no packet is lost', async (t) => {
  if (!needs(t, 'lab', 'strace')) return;
  t.timeout(600_000);
  const made = await lab();
  const { victims, containers } = await network(made);
  const [victim] = victims;
  if (victim === undefined) throw new Error('no victim');
  let number = 0;
  await victim.inStep(VICTIMS + (await setPeers(made, number)));
  await withTraffic(t, containers, async () => {
    const whileRunning = await everywhere([victim], [{ call: 'sendmsg' }], async (_, point) => {
      const strace = await doom(victim.host, victim.agent, point);
      const peers = VICTIMS + (await setPeers(made, ++number));
      const killed = await victim.dies(peers);
      await strace.stop();
      if (killed) await comesBack(t, victim, point, peers);
      else await victim.restart(peers);
      return killed;
    });
    const whileStarting = await everywhere([victim], [KERNEL], async (_, point) => {
      await victim.kill();
      const peers = VICTIMS + (await setPeers(made, ++number));
      const killed = await victim.startDoomed(point, peers);
      // One that lives is still traced.
      if (!killed) await victim.restart(peers);
      else await comesBack(t, victim, point, peers);
      return killed;
    });
    const once = writing(CLUSTER_FILE).map((sort) => ({ ...sort, step: MOST }));
    const whileRemembering = await everywhere([victim], once, async (_, point) => {
      const strace = await doom(victim.host, victim.agent, point);
      const peers = VICTIMS + (await setPeers(made, ++number));
      await eventually('it writes down what it knows', () => !victim.agent.running);
      await strace.stop();
      await isSound(t, victim, point);
      await comesBack(t, victim, point, peers);
      return true;
    });
    t.log(
      `${whileRunning} points while running, ${whileStarting} while starting, ${whileRemembering} while remembering`,
    );
  });
});

test.serial('killed at any call of a change of the network config, it publishes the old or the new one', async (t) => {
  if (!needs(t, 'lab', 'strace')) return;
  t.timeout(600_000);
  const made = await lab();
  const { victims, containers } = await network(made);
  await withTraffic(t, containers, async () => {
    const [victim] = victims;
    if (victim === undefined) throw new Error('no victim');
    const hasPublished = async (network: string): Promise<boolean> =>
      (await victim.host.subnetEnv())?.network === network;
    const points = await everywhere([victim], writing(SUBNET_FILE), async (_, point) => {
      await configure(made, NARROW);
      await victim.restart();
      const strace = await doom(victim.host, victim.agent, point);
      await configure(made, WIDE);
      await eventually('it dies or publishes', async () => !victim.agent.running || (await hasPublished(WIDE)));
      const killed = !victim.agent.running;
      await strace.stop();
      if (!killed) return false;
      await isSound(t, victim, point);
      await comesBack(t, victim, point);
      t.true(await hasPublished(WIDE), about(victim, point));
      return true;
    });
    t.log(`${points} points`);
  });
});

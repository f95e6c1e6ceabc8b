/** etcd goes, hangs, comes back, goes back in time, loses everything: what crosses between the hosts never notices. */
import { writeFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import type { Status } from '../../../agent/status.ts';
import { readStatus } from '../../../agent/status-socket.ts';
import { PREFIX } from '../../support/agent.ts';
import { eventually } from '../../support/eventually.ts';
import type { Host } from '../../support/host.ts';
import { createLab, type EtcdMachines, type Lab } from '../../support/hosts.ts';
import { PKI_FILES } from '../../support/lab-etcd-member.ts';
import { Member } from '../../support/member.ts';
import { PacketStream } from '../../support/packet-stream.ts';
import { needs } from '../../support/require.ts';
import { vxlanLease } from '../../support/vxlan-lease.ts';
import { narrow } from './scene.ts';

/** Renewed every 10 s at the latest. */
const TTL_SECONDS = 30;
/** Below and above are those that no host has, for peers to come and go. */
const CONFIG = narrow(20, 240);
/** The grace of a restored store, and time for a busy machine. */
const RESTORED = { timeoutMs: 100_000 };

class Trio {
  readonly lab: Lab;
  readonly members: Member[] = [];
  readonly #t: ExecutionContext;
  #peers = 0;

  private constructor(t: ExecutionContext, lab: Lab) {
    this.#t = t;
    this.lab = lab;
  }

  /** @returns undefined where the machine can't have it. */
  static async start(t: ExecutionContext, hosts: number, etcd: EtcdMachines): Promise<Trio | undefined> {
    if (!needs(t, 'lab')) return undefined;
    t.timeout(400_000);
    const lab = await createLab({ hosts, etcd });
    t.teardown(() => lab.destroy());
    await lab.etcd.put(`${PREFIX}/config`, CONFIG);
    const trio = new Trio(t, lab);
    for (const host of lab.hosts) await trio.join(host);
    return trio;
  }

  /** An agent and a container; resolves when everybody reaches everybody. */
  async join(host: Host): Promise<Member> {
    const member = new Member(this.lab, host);
    await member.start([`--lease-ttl=${TTL_SECONDS}`, '--log-format=human']);
    await member.addContainer();
    for (const other of this.members) {
      await other.programmed([member]);
      await member.programmed([other]);
      await member.reach(other);
    }
    this.members.push(member);
    return member;
  }

  member(number: number): Member {
    const member = this.members[number - 1];
    if (member === undefined) throw new Error(`there is no member ${number}`);
    return member;
  }

  /** A ping every 10 ms from each to the next. @returns how to end it: none may have been lost. */
  async streams(): Promise<() => Promise<void>> {
    const pairs = this.members.map((member, i) => [member, this.member(((i + 1) % this.members.length) + 1)] as const);
    const streams = await Promise.all(pairs.map(([from, to]) => PacketStream.start(from.container, to.container)));
    return async () => {
      for (const stream of streams) {
        const { title, sent, lost, oddities } = await stream.stop();
        this.#t.log(`${title}: ${sent} sent`);
        this.#t.deepEqual([title, lost, oddities], [title, [], []]);
      }
    };
  }

  /** Who holds what: keys and values of all leases. */
  async held(): Promise<readonly (readonly string[])[]> {
    return (await this.lab.etcd.list(`${PREFIX}/subnets/`)).map(({ key, value }) => [key, value]);
  }

  async holds(wanted: readonly (readonly string[])[]): Promise<void> {
    await eventually('all have their leases again', async () => isDeepStrictEqual(await this.held(), wanted), {
      ...RESTORED,
      context: () => this.members.map(({ agent }) => agent.tail(12)).join('\n\n'),
    });
  }

  status(member: Member, holds: (status: Status) => boolean, what: string): Promise<Status> {
    return eventually(
      `${member.name} ${what}`,
      async () => {
        const read = await readStatus(member.host.path('/run/flannel/subnet.sock')).catch(() => undefined);
        return read !== undefined && holds(read) ? read : undefined;
      },
      { context: () => member.agent.tail(20), timeoutMs: 60_000 },
    );
  }

  /** A lease that comes and goes is followed by everybody. */
  async inStep(what: string): Promise<void> {
    const number = ++this.#peers;
    const subnet = `10.5.${number}.0`;
    const key = `${PREFIX}/subnets/${subnet}-24`;
    const value = vxlanLease(`192.168.77.${200 + number}`, `02:00:00:00:00:${10 + number}`);
    const from = performance.now();
    await eventually('etcd takes a lease', () => this.lab.etcd.put(key, value).then(() => true), RESTORED);
    await this.follows(`${subnet}/24`, true);
    this.#t.log(`${what}: in step after ${((performance.now() - from) / 1000).toFixed(1)} s`);
    await this.lab.etcd.ctl(['del', key]);
    await this.follows(`${subnet}/24`, false);
  }

  /** Everybody has the route to a subnet, or nobody. */
  async follows(subnet: string, wanted: boolean): Promise<void> {
    const isFollowed = async ({ host }: Member): Promise<boolean> =>
      (await host.run('ip', ['route'])).includes(`${subnet} `) === wanted;
    await eventually(
      `${subnet} is ${wanted ? '' : 'not '}routed`,
      async () => (await Promise.all(this.members.map(isFollowed))).every(Boolean),
      { ...RESTORED, context: () => this.members.map(({ agent }) => agent.tail(8)).join('\n\n') },
    );
  }

  /** Nobody has anything to complain of, and everybody's lease has been renewed. */
  async well(): Promise<void> {
    for (const member of this.members) {
      await this.status(member, isWell, 'has no problem any more');
      await eventually(
        `${member.name} renews its lease`,
        async () => Number(/remaining\((\d+)s\)/.exec(await member.leaseTimeLeft())?.[1]) >= TTL_SECONDS - 2,
        { timeoutMs: 30_000, everyMs: 300, context: () => member.agent.tail(20) },
      );
    }
  }

  async kernels(): Promise<readonly unknown[]> {
    const sorted = (lines: readonly string[]): readonly string[] => [...lines].sort();
    const views = await Promise.all(this.members.map((member) => member.kernel()));
    return views.map(({ routes, neighbours, fdb }) => [sorted(routes), sorted(neighbours), sorted(fdb)]);
  }
}

function isWell({ etcd, ready, problems }: Status): boolean {
  return etcd.connected && ready && problems.length === 0;
}

function away({ etcd }: Status): boolean {
  return !etcd.connected;
}

/** What is done to etcd, and what mends it. */
const OUTAGES: Readonly<Record<string, (trio: Trio) => Promise<void>>> = {
  'one member killed': async ({ lab: { etcd } }) => {
    await etcd.member(1).stop();
    await etcd.member(1).start();
  },
  'the leader moved': async ({ lab: { etcd } }) => void (await etcd.moveLeader()),
  'the leader hangs': async (trio) => {
    const { etcd } = trio.lab;
    const leader = await etcd.leader();
    leader.freeze();
    await trio.inStep('meanwhile');
    leader.thaw();
  },
  'two members killed': async (trio) => {
    const { etcd } = trio.lab;
    await Promise.all([etcd.member(1).stop(), etcd.member(2).stop()]);
    for (const member of trio.members) await trio.status(member, away, 'notices');
    await Promise.all([etcd.member(1).start(), etcd.member(2).start()]);
  },
  'all killed': async (trio) => {
    await trio.lab.etcd.stop();
    for (const member of trio.members) await trio.status(member, away, 'notices');
    await trio.lab.etcd.start();
  },
  'all black-holed': async (trio) => {
    const { members } = trio.lab.etcd;
    await Promise.all(members.map((member) => member.unplug()));
    for (const member of trio.members) await trio.status(member, away, 'notices');
    await Promise.all(members.map((member) => member.plug()));
  },
  'compacted while a host could not reach it': async (trio) => {
    const { etcd } = trio.lab;
    const member = trio.member(1);
    const routes = etcd.members.map(({ address }) => `blackhole ${address}/32`);
    await member.host.configure(...routes.map((route) => `route add ${route}`));
    await trio.status(member, away, 'notices');
    const key = `${PREFIX}/subnets/10.5.250.0-24`;
    await etcd.put(key, vxlanLease('192.168.77.250', '02:00:00:00:00:fa'));
    await etcd.ctl(['compact', String(await etcd.revision())]);
    await member.host.configure(...routes.map((route) => `route del ${route}`));
    await trio.follows('10.5.250.0/24', true);
    await etcd.ctl(['del', key]);
    await trio.follows('10.5.250.0/24', false);
  },
};

test('three members with TLS: whatever happens to them, no packet is lost, and everybody is in step again', async (t) => {
  const trio = await Trio.start(t, 2, { members: 3, tls: true });
  if (!trio) return;
  const before = await trio.held();
  const kernels = await trio.kernels();
  const quiet = await trio.streams();
  for (const [name, outage] of Object.entries(OUTAGES)) {
    await outage(trio);
    await trio.inStep(name);
    await trio.well();
    t.deepEqual(await trio.held(), before, name);
  }
  await quiet();
  t.deepEqual(await trio.kernels(), kernels);
});

test('restored from a snapshot that is older than a host: all keep their subnets, no packet is lost', async (t) => {
  const trio = await Trio.start(t, 2, { members: 3, tls: true });
  if (!trio) return;
  const { lab } = trio;
  const snapshot = await lab.etcd.snapshot();
  await trio.join(await lab.addHost());
  const before = await trio.held();
  const kernels = await trio.kernels();
  const quiet = await trio.streams();
  await lab.etcd.restore(snapshot);
  await trio.holds(before);
  await trio.inStep('restored');
  await trio.well();
  t.deepEqual(await trio.held(), before);
  t.deepEqual(await trio.kernels(), kernels);
  await quiet();
});

test('restored, and written past what everybody knew before anybody is back: told apart all the same', async (t) => {
  const trio = await Trio.start(t, 2, {});
  if (!trio) return;
  const { lab } = trio;
  const snapshot = await lab.etcd.snapshot();
  await trio.join(await lab.addHost());
  const before = await trio.held();
  const quiet = await trio.streams();
  const { etcd } = lab;
  const cables = lab.hosts.map(({ ip }) => `blackhole ${ip}/32`);
  const machine = etcd.member(1).at;
  await machine.configure(...cables.map((route) => `route add ${route}`));
  for (const member of trio.members) await trio.status(member, away, 'notices');
  await etcd.restore(snapshot);
  for (let count = 0; count < 60; count += 1) await etcd.put('/elsewhere', String(count));
  await machine.configure(...cables.map((route) => `route del ${route}`));
  await trio.holds(before);
  for (const member of trio.members) await member.agent.until(/not the store that we knew: absent leases are kept/);
  await trio.inStep('restored and written');
  await trio.well();
  await quiet();
});

test('come back empty: everybody claims the same again, and the network config is asked for', async (t) => {
  const trio = await Trio.start(t, 3, { members: 3, tls: true });
  if (!trio) return;
  const { etcd } = trio.lab;
  const before = await trio.held();
  const kernels = await trio.kernels();
  const quiet = await trio.streams();
  await etcd.wipe();
  await etcd.start();
  for (const member of trio.members) await trio.status(member, ({ problems }) => problems.length > 0, 'has a problem');
  await etcd.put(`${PREFIX}/config`, CONFIG);
  await trio.holds(before);
  await trio.inStep('wiped');
  await trio.well();
  t.deepEqual(await trio.kernels(), kernels);
  await quiet();
});

test('new certificates of a new CA on disk: used without a restart, by the watch too; a key that does not fit is told', async (t) => {
  const trio = await Trio.start(t, 2, { members: 3, tls: true });
  if (!trio) return;
  const { lab } = trio;
  const before = await trio.held();
  const quiet = await trio.streams();
  const { host } = trio.member(1);
  const key = (await host.read(PKI_FILES.clientKey)) ?? '';
  const isTold = ({ problems }: Status): boolean => problems.some((problem) => problem.includes(PKI_FILES.clientKey));
  await writeFile(host.path(PKI_FILES.clientKey), key.slice(0, 60));
  const { etcd } = await trio.status(trio.member(1), isTold, 'tells of a half-written key');
  t.true(etcd.connected);
  await trio.inStep('with a half-written key');
  await writeFile(host.path(PKI_FILES.clientKey), key);
  await trio.status(trio.member(1), (status) => !isTold(status), 'tells of it no more');

  await lab.rotatePki({ hosts: true });
  for (const member of trio.members) await member.agent.until(/etcd certificates were replaced/, 60_000);
  // From now on no connection with the old ones is possible.
  await lab.etcd.stop();
  await lab.etcd.start();
  await trio.inStep('with the new certificates');
  await trio.well();
  t.deepEqual(await trio.held(), before);
  await quiet();
});

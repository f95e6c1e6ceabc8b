/** Ten hosts, one etcd, and what the run knows of them while it breaks them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { PREFIX } from '../support/agent.ts';
import { eventually } from '../support/eventually.ts';
import { createLab, type Lab } from '../support/hosts.ts';
import { type EtcdEvent, type LeaseChange, LeaseHistory } from '../support/lease-history.ts';
import type { Exit, LabProcess } from '../support/process.ts';
import { type Disturbance, Disturbances, type Lessee } from './disturbances.ts';
import { watchEtcd } from './etcd-watch.ts';
import { Foreigners } from './foreigners.ts';
import type { Journal } from './journal.ts';
import { networkConfig } from './network-config.ts';
import type { ProbeReport } from './prober.ts';
import { Station } from './station.ts';
import { Trouble } from './trouble.ts';

export const TTL_SECONDS = 15;
const RESYNC_SECONDS = 15;
const FLAGS = [`--lease-ttl=${TTL_SECONDS}`, `--resync=${RESYNC_SECONDS}`, '--log-format=human'];
const ASK_EVERY_MS = 250;
/** Generous: a machine that is short of processors is no fault. */
const HEAL_WITHIN_MS = 20_000;
/** How long a lease may take to go after the trouble that made it run out. */
const EXPIRY_MS = TTL_SECONDS * 1000 + 10_000;
/** Losses are reported within this. */
const REPORTED_WITHIN_MS = 30_000;
/** Exit statuses that are documented for what the faults bring about. */
const LEASE_LOST = 7;
const INTERFACE_NOT_FOUND = 4;
const ADDRESS_SEEN_WITHIN_MS = 5_000;
const RESTART_AFTER_MS = 1_000;
const CLEAN_MS = 5_000;
const WATCH_LATE_MS = 10_000;

export class Fleet {
  readonly lab: Lab;
  readonly journal: Journal;
  readonly stations: readonly Station[];
  readonly history = new LeaseHistory();
  readonly disturbances = new Disturbances();
  readonly etcdTrouble = new Trouble();
  readonly foreigners: readonly Foreigners[];
  readonly #reported = new Set<Disturbance>();
  readonly #moves = new Map<Station, Disturbance>();
  readonly #stop = new AbortController();
  #loops: readonly Promise<void>[] = [];
  #watch: LabProcess | undefined;
  #clashes = 0;
  #telling: Promise<void> = Promise.resolve();

  private constructor(lab: Lab, journal: Journal) {
    this.lab = lab;
    this.journal = journal;
    const listener = {
      onProbes: (station: Station, report: ProbeReport) => this.#onProbes(station, report),
      onEnd: (station: Station, agent: LabProcess, exit: Exit) => this.#onEnd(station, agent, exit),
    };
    this.stations = lab.hosts.map((host, index) => new Station(lab, host, index, FLAGS, listener));
    this.foreigners = lab.hosts.map((host) => new Foreigners(host));
  }

  /** All agents in step, all containers reach each other. */
  static async open(hosts: number, journal: Journal): Promise<Fleet> {
    const lab = await createLab({ hosts });
    try {
      const fleet = new Fleet(lab, journal);
      await fleet.#begin(hosts);
      return fleet;
    } catch (fault: unknown) {
      lab.destroy();
      throw fault;
    }
  }

  async #begin(hosts: number): Promise<void> {
    await this.lab.etcd.put(`${PREFIX}/config`, networkConfig(hosts));
    await Promise.all(this.foreigners.map((one) => one.settle()));
    this.#watchEtcd();
    for (const station of this.stations) station.start();
    this.#loops = this.stations.map((station) => this.#follow(station));
    await eventually('every host is in step', () => this.#isAllWell(), { timeoutMs: 60_000 });
  }

  #watchEtcd(): void {
    const from = { prefix: `${PREFIX}/`, revision: this.history.revision + 1 };
    this.#watch = watchEtcd(this.lab, from, (events) => this.#onEvents(events));
  }

  /** etcd answers again: a client waits before it connects anew, and what it hears meanwhile it would hear late. */
  etcdIsBack(): void {
    this.etcdTrouble.end();
    void this.#watch?.kill();
    this.#watchEtcd();
  }

  #isAllWell(): boolean {
    const containers = this.stations.every(({ containerSubnet }) => containerSubnet !== undefined);
    return containers && this.disturbances.open.length === 0 && this.history.leases.length === this.stations.length;
  }

  station(name: string): Station | undefined {
    return this.stations.find((station) => station.name === name);
  }

  /** A fault that takes from this host the packets to and from everybody. */
  disturb(station: Station, why: string, options: { settleMs?: number; lasts?: boolean } = {}): Disturbance {
    const { name } = station;
    return this.disturbances.begin({
      why: `${why} on ${name}`,
      hosts: [name],
      judge: name,
      at: Date.now(),
      ...options,
    });
  }

  over(disturbance: Disturbance): void {
    disturbance.over = Date.now();
  }

  /** Deletes a key, as soon as etcd lets us. */
  async clean(key: string): Promise<void> {
    const tried = async (): Promise<true> => {
      await this.lab.etcd.ctl(['--command-timeout=3s', 'del', key]);
      return true;
    };
    await eventually(`${key} is deleted`, tried, { timeoutMs: 90_000, everyMs: 300 });
  }

  /** Deletes a key if it still has that value, as soon as etcd lets us. @returns whether it had */
  async cleanIf(key: string, value: string): Promise<boolean> {
    const input = `value("${key}") = "${value}"\n\ndel ${key}\n\n\n`;
    const tried = async (): Promise<string> => await this.lab.etcd.ctl(['--command-timeout=3s', 'txn'], { input });
    return /^SUCCESS/.test(await eventually(`${key} is mended`, tried, { timeoutMs: 90_000, everyMs: 300 }));
  }

  /** Resolves with the store's revision when all up to it has been seen here. */
  async caughtUp(): Promise<number> {
    const marker = `${PREFIX}/zz-chaos-marker`;
    await this.lab.etcd.ctl(['--command-timeout=3s', 'put', marker, '']);
    const answer = await this.lab.etcd.ctl(['--command-timeout=3s', 'get', marker, '-w', 'json']);
    const revision = Number(/"mod_revision":(\d+)/.exec(answer)?.[1] ?? Number.NaN);
    await eventually(`revision ${revision} is seen`, () => this.history.revision >= revision, { timeoutMs: 10_000 });
    return revision;
  }

  /** Everything is lifted: all must come to rest by itself, then stay so. */
  async settle(withinMs: number): Promise<void> {
    for (const station of this.stations) if (!station.isRunning) station.start();
    const from = Date.now();
    const context = (): string => this.#openList().join('\n');
    await eventually('all hosts are in step', () => this.#isAllWell(), { timeoutMs: withinMs, context }).catch(
      (fault: unknown) => this.journal.violate(fault instanceof Error ? fault.message : String(fault)),
    );
    this.journal.note(`all in step after ${((Date.now() - from) / 1000).toFixed(1)} s`);
    await sleep(CLEAN_MS);
  }

  #openList(): readonly string[] {
    return this.disturbances.open.map(({ why, judge }) => `  ${why}: ${judge} does not say that all is well`);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#loops);
    this.lab.destroy();
  }

  // --- what is seen

  async #follow(station: Station): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const askedAt = Date.now();
      const status = await station.status();
      await this.#plumb(station);
      if (status !== undefined) {
        const peers = new Map(status.peers.map(({ publicIp, subnet }) => [publicIp, subnet]));
        const isConnected = status.etcd.connected && this.etcdTrouble.calmSince < askedAt - 1_000;
        const said = {
          askedAt,
          answeredAt: Date.now(),
          isReady: status.ready,
          isInStep: status.inStep,
          isConnected,
          peers,
        };
        this.disturbances.heard(station.name, said, (name) => this.#leased(name));
      }
      this.#complain(station, status?.phase ?? 'no answer');
      this.disturbances.forget(Date.now() - REPORTED_WITHIN_MS);
      await sleep(ASK_EVERY_MS);
    }
  }

  #leased(name: string): Lessee {
    const ip = this.station(name)?.host.ip ?? '';
    return { name, ip, subnet: this.history.of(ip)?.subnet };
  }

  async #plumb(station: Station): Promise<void> {
    if (!(await station.plumb())) return;
    this.#telling = this.#telling.then(() => this.#tellPeers());
    await this.#telling;
    const move = this.#moves.get(station);
    if (move !== undefined) this.over(move);
    this.#moves.delete(station);
  }

  async #tellPeers(): Promise<void> {
    const known = this.stations.flatMap(({ name, containerIp }) => (containerIp ? [[name, containerIp] as const] : []));
    await Promise.all(this.stations.map((each) => each.tellPeers(Object.fromEntries(known))));
  }

  /** Who has had all it needs for so long, and still is not in step, does not heal. */
  #complain(station: Station, phase: string): void {
    const mine = this.disturbances.open.filter(({ judge }) => judge === station.name);
    const lastFault = Math.max(0, ...mine.map(({ over }) => over ?? Number.POSITIVE_INFINITY));
    for (const one of mine) {
      const lessee = one.lessee === undefined ? undefined : this.station(one.lessee);
      const calmSince = Math.max(
        ...[lastFault, station.trouble.calmSince, this.etcdTrouble.calmSince, lessee?.trouble.calmSince ?? 0],
      );
      if (Date.now() - calmSince < HEAL_WITHIN_MS || this.#reported.has(one)) continue;
      this.#reported.add(one);
      this.journal.violate(`${one.why}: ${station.name} is not in step ${HEAL_WITHIN_MS / 1000} s later (${phase})`);
      this.journal.note(station.logTail());
    }
  }

  #onProbes(station: Station, { sent, answered, lost }: ProbeReport): void {
    this.journal.count('packets sent', sent);
    this.journal.count('packets answered', answered);
    for (const other of this.stations) {
      if (other === station) continue;
      const isDisturbed = this.disturbances.excuse(station.name, other.name, Date.now()) !== undefined;
      this.journal.count(isDisturbed ? 'looks at a pair that was disturbed' : 'looks at a pair that must lose nothing');
    }
    this.#judgeLost(station, lost);
  }

  #judgeLost(station: Station, lost: ProbeReport['lost']): void {
    const unexcused = lost.filter(({ to, at }) => this.disturbances.excuse(station.name, to, at) === undefined);
    this.journal.count('packets lost as they may be', lost.length - unexcused.length);
    for (const other of new Set(unexcused.map(({ to }) => to))) {
      const times = unexcused.filter(({ to }) => to === other).map(({ at }) => at);
      this.journal.count('packets lost though nothing was broken', times.length);
      const when = `from ${this.journal.time(Math.min(...times))} to ${this.journal.time(Math.max(...times))}`;
      this.journal.violate(`${times.length} packets of ${station.name} to ${other} lost, ${when}; nothing was broken`);
    }
  }

  #onEnd(station: Station, agent: LabProcess, { status, signal }: Exit): void {
    if (this.#stop.signal.aborted) return;
    station.disown();
    const why = this.#excuseOfEnd(station, status);
    if (why === undefined)
      this.journal.violate(`the agent of ${station.name} ended by itself (${signal ?? status})\n${agent.tail(25)}`);
    else this.journal.note(`the agent of ${station.name} ends, ${why}; started again`);
    this.journal.count(why === undefined ? 'agents that died' : `agents that ended, ${why}`);
    station.mayMove ||= status === LEASE_LOST;
    station.trouble.begin();
    setTimeout(() => {
      if (!this.#stop.signal.aborted && station.pid === undefined) station.start();
      station.trouble.end();
    }, RESTART_AFTER_MS);
  }

  /** Why an agent may end by itself: what its exit status stands for must be so. */
  #excuseOfEnd({ lastSubnet, host, addressTrouble }: Station, status: number | null): string | undefined {
    const isTaken = lastSubnet !== undefined && this.history.wasAnothers(lastSubnet, host.ip);
    if (status === LEASE_LOST && isTaken) return "its lease being another's";
    if (status === INTERFACE_NOT_FOUND && addressTrouble.lately(ADDRESS_SEEN_WITHIN_MS))
      return 'its host having no address';
    return undefined;
  }

  #onEvents(events: readonly EtcdEvent[]): void {
    // The watch before this one may still have said some of it.
    const news = events.filter(({ revision }) => revision > this.history.revision);
    for (const change of this.history.apply(news)) this.#onChange(change);
    for (const clash of this.history.violations.slice(this.#clashes)) this.journal.violate(clash);
    this.#clashes = this.history.violations.length;
  }

  #onChange({ before, after }: LeaseChange): void {
    this.journal.count('changes of leases');
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(after)) return;
    for (const publicIp of new Set([before?.publicIp, after?.publicIp])) {
      const station = this.stations.find(({ host }) => host.ip === publicIp);
      if (station === undefined) continue;
      if (after !== undefined && after.publicIp === publicIp) this.#comes(station, after.subnet);
      else this.#goes(station, before?.subnet ?? '');
      this.#disturbPairs(station);
    }
  }

  #goes(station: Station, subnet: string): void {
    this.journal.count('leases gone');
    const { trouble, name } = station;
    if (trouble.lately(EXPIRY_MS) || this.etcdTrouble.lately(EXPIRY_MS)) return;
    this.journal.violate(`${name} lost its lease of ${subnet} though it could renew it\n${station.logTail()}`);
  }

  #comes(station: Station, subnet: string): void {
    const { name, host } = station;
    if (station.subnet !== undefined && station.subnet !== subnet) {
      this.journal.violate(`the subnet of ${name} changed from ${station.subnet} to ${subnet} while its agent lived`);
    }
    const last = station.lastSubnet;
    if (last !== undefined && last !== subnet && !station.mayMove && !this.history.wasAnothers(last, host.ip)) {
      this.journal.violate(`${name} came back with ${subnet}, though nobody had taken its ${last}`);
    }
    station.subnet = subnet;
    station.lastSubnet = subnet;
    station.mayMove = false;
    if (station.containerSubnet === subnet || this.#moves.has(station)) return;
    this.#moves.set(station, this.disturb(station, `the move to ${subnet}`, { lasts: true }));
  }

  #disturbPairs(station: Station): void {
    // It may have been done as soon as etcd was back, before the watch was.
    const isLate = !this.etcdTrouble.isNow && this.etcdTrouble.lately(WATCH_LATE_MS);
    const at = isLate ? this.etcdTrouble.calmSince : Date.now();
    const why = `a change of the lease of ${station.name}`;
    for (const other of this.stations) {
      const hosts = other === station ? [station.name] : [station.name, other.name];
      this.disturbances.begin({ why, hosts, judge: other.name, lessee: station.name, at });
    }
  }
}

/** Hosts on one etcd and one time, and the deeds that befall them. */
import fc from 'fast-check';
import { VirtualClock } from '../../fakes/clock.ts';
import { type FakeBackup, FakeEtcd } from '../../fakes/etcd.ts';
import { PREFIX } from '../leases/leases.ts';
import { type Identity, ModelHost } from './host.ts';
import type { Weather } from './line.ts';
import { KEYS, Truth } from './truth.ts';

const TTL_SECONDS = 30;
const RECOVERY_MS = 200_000;
const CLOCK_STEP_MS = 7_200_000;
const JUNK = ['junk', '10.5.1.192-26', '10.5.300.0-24', '&'] as const;

export interface Deed {
  readonly what: string;
  readonly who: number;
  /** What passes before. */
  readonly waitMs: number;
}

export class Model {
  readonly time: VirtualClock;
  readonly etcd: FakeEtcd;
  readonly truth: Truth;
  readonly hosts: readonly ModelHost[];
  readonly configs: readonly string[];
  backup: FakeBackup;

  constructor(identities: readonly Identity[], configs: readonly string[], seed: number) {
    this.time = new VirtualClock(undefined, seed);
    this.etcd = new FakeEtcd(this.time);
    this.truth = new Truth(this.time, this.etcd);
    this.configs = configs;
    this.configure(0);
    this.backup = this.etcd.backup();
    this.hosts = identities.map((identity, i) => new ModelHost(this, i, identity, TTL_SECONDS));
  }

  configure(number: number): void {
    this.etcd.put(KEYS.config, this.configs[number % this.configs.length] ?? '');
  }

  /** With another cluster id: a store that has the old one, and was written to until it is as old, is not told from it. */
  replace(backup: Partial<FakeBackup>): void {
    for (const each of this.hosts) each.trouble();
    this.truth.restore({ ...backup, clusterId: `made at ${this.time.monotonic()}` });
  }

  async act({ what, who, waitMs }: Deed): Promise<void> {
    await this.time.advance(waitMs);
    for (const host of this.hosts) host.check(false);
    const host = this.hosts[who];
    if (host) DEEDS[what]?.befall(host, this, who);
  }

  /** All is well again and everybody runs; in the end all are in step. */
  async recover(): Promise<void> {
    if (!this.etcd.kvs.some(({ key }) => key === KEYS.config)) this.configure(0);
    for (const host of this.hosts) {
      heal(host);
      host.go();
      host.start();
    }
    await this.time.advance(RECOVERY_MS);
    for (const host of this.hosts) host.check(true);
  }

  end(): void {
    for (const host of this.hosts) host.crash();
    this.etcd.stop();
  }
}

interface Kind {
  /** How often it comes. */
  readonly weight: number;
  readonly befall: (host: ModelHost, model: Model, who: number) => void;
}

const DEEDS: Readonly<Record<string, Kind>> = {
  wait: { weight: 2, befall: () => undefined },
  start: { weight: 4, befall: (host) => host.start() },
  crash: { weight: 2, befall: (host) => host.crash() },
  reinstall: { weight: 1, befall: (host) => host.reinstall() },
  stop: { weight: 2, befall: (host) => host.stop() },
  go: { weight: 2, befall: (host) => host.go() },
  renumber: { weight: 4, befall: (host, { time }) => host.renumber(`192.0.2.${Math.floor(time.random() * 6)}`) },
  setClock: { weight: 1, befall: setClock },
  cut: { weight: 1, befall: cut },
  etcdAway: { weight: 1, befall: (_, { hosts }) => hosts.forEach(cut) },
  callsHang: { weight: 1, befall: (host) => turn(host, { callsPass: false }) },
  watchesHang: { weight: 1, befall: (host) => turn(host, { watchesPass: false }) },
  slow: { weight: 1, befall: (host) => turn(host, { latencyMs: 2_000 }) },
  answersLost: { weight: 1, befall: (host) => turn(host, { lostAnswers: 0.3 }) },
  heal: { weight: 3, befall: heal },
  keyDeleted: { weight: 1, befall: deleteKey },
  leaseRevoked: { weight: 1, befall: revokeLease },
  config: { weight: 1, befall: (_, model, who) => model.configure(who) },
  junk: {
    weight: 1,
    befall: (_, { etcd }, who) => void etcd.put(`${PREFIX}/subnets/${JUNK[who % JUNK.length]}`, '{"PublicIP":1}'),
  },
  compact: { weight: 1, befall: (_, { etcd }) => etcd.compact() },
  backup: { weight: 1, befall: keepBackup },
  restore: { weight: 1, befall: (_, model) => model.replace(model.backup) },
  wipe: { weight: 1, befall: wipe },
};

/** @param without what never befalls them. */
export function deeds(hosts: number, without: string): fc.Arbitrary<Deed[]> {
  const kinds = Object.entries(DEEDS).filter(([what]) => what !== without);
  const deed = fc.record({
    what: fc.constantFrom(...kinds.flatMap(([what, { weight }]) => Array.from({ length: weight }, () => what))),
    who: fc.nat(hosts - 1),
    // Often little, so that the deed falls between two calls.
    waitMs: fc.oneof(fc.nat(100), fc.nat(100), fc.nat(5_000), fc.nat(60_000)),
  });
  return fc.array(deed, { minLength: 5, maxLength: 40 });
}

function turn(host: ModelHost, weather: Partial<Weather> | undefined): void {
  host.trouble();
  host.line.turn(weather);
}

function cut(host: ModelHost): void {
  host.trouble();
  host.line.server.reachable = false;
}

function heal(host: ModelHost): void {
  turn(host, undefined);
  host.line.server.reachable = true;
}

function setClock(host: ModelHost, { time }: Model): void {
  host.trouble();
  host.clock.setForward((time.random() - 0.5) * CLOCK_STEP_MS);
}

function deleteKey(host: ModelHost, { etcd }: Model): void {
  host.trouble();
  if (host.held) etcd.delete(host.held.key);
}

function revokeLease(host: ModelHost, { etcd }: Model): void {
  host.trouble();
  if (host.held) etcd.revoke(host.held.etcdLease);
}

function keepBackup(_: ModelHost, model: Model): void {
  model.backup = model.etcd.backup();
}

/** By the directory being lost; of some the network config too. */
function wipe(_: ModelHost, model: Model, who: number): void {
  const kvs = model.etcd.kvs.filter(({ key }) => key === KEYS.config && who > 0);
  model.replace({ kvs, revision: 100 });
}

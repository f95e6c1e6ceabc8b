/** What a host that wants a lease does about those that there are (pure). */
import { containsPrefix, familyOf, type Prefix, prefixLength } from '../config/address.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import { rangeHolds, type SubnetRange } from '../config/subnet-range.ts';
import { atSamePlace, bestFree } from './allocator.ts';
import { coverage, NO_IPV4, sameSubnets } from './coverage.ts';
import type { Candidate, Self } from './identity.ts';
import { candidates } from './identity.ts';
import type { LeaseOwner, LeaseSubnets, StoredLease } from './lease.ts';
import type { SideKey } from './side-keys.ts';

export interface Question {
  readonly subnets: LeaseSubnets;
  readonly owner: LeaseOwner | undefined;
}

export interface Intent {
  /** The lease to take on; undefined: a new one. */
  readonly target: Candidate | undefined;
  /** Other leases of this host, which go in the same moment. */
  readonly removes: readonly StoredLease[];
  /** Whose holders have to be asked first. */
  readonly questions: readonly Question[];
}

/** Whether a new claim under this config could be for these subnets. */
export function fitsConfig(config: NetworkConfig, subnets: LeaseSubnets): boolean {
  return holdsEach(config, subnets, rangeHolds);
}

/**
 * Whether this host may go on with the lease: it lies in the network. A new SubnetLen, SubnetMin or SubnetMax is for new
 * claims (flannel drops such a lease at its next start, and every container of the host with it).
 */
export function mayKeep(config: NetworkConfig, subnets: LeaseSubnets): boolean {
  return holdsEach(config, subnets, ({ network }, subnet) => containsPrefix(network, subnet));
}

function holdsEach(
  { ranges: { 4: range4, 6: range6 } }: NetworkConfig,
  { subnet, subnet6 }: LeaseSubnets,
  holds: (range: SubnetRange, subnet: Prefix) => boolean,
): boolean {
  const fits4 = range4 ? holds(range4, subnet) : subnet === NO_IPV4;
  return fits4 && (range6 ? subnet6 !== undefined && holds(range6, subnet6) : !subnet6);
}

/** Whether today's claims are as long as these subnets, so that one exact key tells whether they are free. */
export function hasCurrentLengths({ ranges }: NetworkConfig, subnets: LeaseSubnets): boolean {
  return coverage(subnets).every((prefix) => ranges[familyOf(prefix)]?.length === prefixLength(prefix));
}

/** Side keys of hosts whose lease is gone: whether they live has to be asked. Where it stands, it speaks for itself. */
function ownersBetweenLeases(claim: string, leases: readonly StoredLease[], side: readonly SideKey[]): Question[] {
  const atOurAddress = side.filter(({ about, record }) => about === 'address' && record?.claim === claim);
  // A node key alone does not tell us from a clone of us, which has our node id and claim at another address.
  const isOurs = (subnets: LeaseSubnets): boolean =>
    atOurAddress.some(({ record }) => record && sameSubnets(record.subnets, subnets));
  return side.flatMap(({ about, record }) => {
    if (!record || about === 'subnet6' || leases.some((lease) => sameSubnets(lease, record.subnets))) return [];
    return record.claim === claim && isOurs(record.subnets) ? [] : [{ subnets: record.subnets, owner: record }];
  });
}

/**
 * What to do about the leases that may be ours. A reservation wins over other leases and is never deleted: an operator
 * made it. `side` undefined: etcd forbids our keys, so nobody can be asked and flannel's rule holds: the public IP alone
 * says whose a lease is.
 */
export function intend(
  { self, config }: { readonly self: Self; readonly config: NetworkConfig },
  leases: readonly StoredLease[],
  side: readonly SideKey[] | undefined,
): Intent {
  const all = candidates(self, leases);
  const found = side ? all : all.filter(({ relation }) => relation !== 'same-node');
  const kept = found.filter(({ lease }) => mayKeep(config, lease));
  const isReservation = ({ lease }: Candidate): boolean => lease.etcdLease === '0';
  const target = kept.find(isReservation) ?? kept.find(({ lease }) => fitsConfig(config, lease)) ?? kept[0];
  const removes = found.flatMap((one) => (one === target || one.lease.etcdLease === '0' ? [] : [one.lease]));
  if (!side) return { target, removes, questions: [] };
  const strangers = found.filter(({ relation }) => relation !== 'ours' && relation !== 'flanneld');
  const questions = [
    ...strangers.map(({ lease }) => ({ subnets: lease, owner: lease.owner })),
    ...ownersBetweenLeases(self.claim, leases, side),
  ];
  const isFirst = (one: Question, i: number): boolean =>
    questions.findIndex((other) => sameSubnets(one.subnets, other.subnets)) === i;
  return { target, removes, questions: questions.filter(isFirst) };
}

export interface Choice {
  readonly subnets: LeaseSubnets;
  /** What is to be tried where this is lost, in that order; of two families the IPv4 subnets alone. */
  readonly alternatives: readonly LeaseSubnets[];
}

/** So many are looked at in the transaction that was lost. Where nine in ten are taken one of them is free more often than not. */
const ALTERNATIVES = 8;

/**
 * The subnets to ask for, undefined where a range is exhausted. `previous` comes first if it is free; of two families
 * the IPv4 subnet is chosen first, and the IPv6 one at its place if that is free.
 */
export function choose(
  { node, config, previous, avoid }: ChoiceBasis,
  taken: Iterable<LeaseSubnets>,
): Choice | undefined {
  const { 4: range4, 6: range6 } = config.ranges;
  const used = [...avoid, ...Array.from(taken, coverage).flat()];
  const free = (range: SubnetRange, count: number, first?: Prefix): Prefix[] =>
    bestFree(range, node, used, count, first);
  if (!range4) {
    const only6 = range6 ? free(range6, 1 + ALTERNATIVES, previous?.subnet6) : [];
    return choiceOf(only6.map((subnet6) => ({ subnet: NO_IPV4, subnet6 })));
  }
  const choice = choiceOf(
    free(range4, 1 + ALTERNATIVES, previous?.subnet).map((subnet) => ({ subnet, subnet6: undefined })),
  );
  if (!choice || !range6) return choice;
  const { subnet } = choice.subnets;
  const [before] = previous?.subnet6 ? free(range6, 1, previous.subnet6) : [];
  const [beside] =
    before && before === previous?.subnet6 ? [before] : free(range6, 1, atSamePlace(range6, range4, subnet));
  return beside && { ...choice, subnets: { subnet, subnet6: beside } };
}

function choiceOf([subnets, ...alternatives]: readonly LeaseSubnets[]): Choice | undefined {
  return subnets && { subnets, alternatives };
}

export interface ChoiceBasis {
  readonly node: string;
  readonly config: NetworkConfig;
  readonly previous: LeaseSubnets | undefined;
  /** The hosts' own networks: peers refuse a lease that overlaps them, and it would cut this host off. */
  readonly avoid: readonly Prefix[];
}

/** What the packet filters of this host do to packets between a container and another host. Pure. */
import {
  containsIp,
  containsPrefix,
  type Family,
  familyOf,
  type Ip,
  networkAddress,
  offsetIp,
  type Prefix,
} from '../../config/address.ts';
import { type CheckFacts, type Container, type FamilyRange, remoteAddress } from './check-facts.ts';
import { DEFAULT_BRIDGE, NFTABLES_FLAGS, settingOf, usesNftables } from './engine.ts';
import type { Finding } from './finding.ts';
import { type IptablesTables, iptablesTables } from './iptables-tables.ts';
import { type NftablesTables, nftablesTables } from './nftables-tables.ts';
import { type Packet, type RuleTable, type Stop, stopOf } from './packet-path.ts';

interface Rules {
  readonly iptables: readonly IptablesTables[];
  readonly nftables: NftablesTables | undefined;
}

export function packetFindings(facts: CheckFacts): Finding[] {
  const { rules } = facts;
  const four = rulesOf(facts, 4);
  return [
    ...rules.problems.map(unlisted),
    ...(facts.lease?.ranges ?? []).flatMap((range) => stops(facts, range)),
    ...bothKinds(four),
    ...unpublished(facts, four),
  ];
}

function rulesOf({ rules }: CheckFacts, family: Family): Rules {
  const listings = family === 4 ? rules.iptables : rules.ip6tables;
  const iptables = [...listings].map(([program, text]) => iptablesTables(text, program));
  const listed = [...listings.keys()].flatMap((program, at) =>
    program.endsWith('legacy') ? [] : namesOf(iptables[at]),
  );
  const nftables = rules.nftables === undefined ? undefined : nftablesTables(rules.nftables, family, new Set(listed));
  return { iptables, nftables };
}

function namesOf(listing: IptablesTables | undefined): readonly string[] {
  return (listing?.tables ?? []).map(({ name }) => name.split(' ').at(-1) ?? '');
}

function unlisted(problem: string): Finding {
  return {
    id: 'unlisted',
    severity: 'note',
    what: `Not all firewall rules could be looked at: ${problem}`,
    why: 'What they drop is not told here',
    mend: 'Run the check as root, with iptables and nft in the PATH',
  };
}

/** Both ways between this host's containers and another host, one finding for each rule that ends it. */
function stops(facts: CheckFacts, range: FamilyRange): Finding[] {
  const remote = remoteAddress(range);
  if (!remote) return [];
  const { iptables, nftables } = rulesOf(facts, familyOf(range.network));
  const tables = [...iptables.flatMap((one) => one.tables), ...(nftables?.tables ?? [])];
  const found = new Map<string, { readonly stop: Stop; readonly isInward: boolean; readonly packets: Packet[] }>();
  for (const { packet, isInward } of packetsOf(facts, range, remote)) {
    const stop = stopOf(tables, packet);
    // Rules that differ in the container's address alone are one finding.
    const key =
      stop && `${stop.table} ${stop.chain} ${(stop.rule ?? '').replace(/\s-d \S+|\(handle \d+\)/, '')} ${isInward}`;
    if (!stop || key === undefined) continue;
    const before = found.get(key);
    if (before) before.packets.push(packet);
    else found.set(key, { stop, isInward, packets: [packet] });
  }
  return [...found.values()].map(({ stop, isInward, packets }) => dropped(facts, tables, stop, isInward, packets));
}

interface Crossing {
  readonly packet: Packet;
  readonly isInward: boolean;
}

function packetsOf(
  { devices, networks, containers, addresses }: CheckFacts,
  { subnet }: FamilyRange,
  remote: Ip,
): Crossing[] {
  const bridges = (networks ?? []).filter(({ isInternal }) => !isInternal);
  const places = bridges.flatMap(({ bridge, subnets }) =>
    subnets.filter((one) => containsPrefix(subnet, one)).map((one) => ({ bridge, subnet: one })),
  );
  const hasAddress = addresses.some(({ dev, ip }) => dev === DEFAULT_BRIDGE && containsIp(subnet, ip));
  if (networks === undefined && hasAddress) places.push({ bridge: DEFAULT_BRIDGE, subnet });
  const carriers = devices.filter((device) => isOf(device, familyOf(subnet)));
  return places.flatMap((place) => {
    const inside = addressesIn(containers ?? [], place.subnet);
    return carriers.flatMap((device) =>
      inside.flatMap((ip) => [
        { packet: { from: device, to: place.bridge, source: remote, destination: ip }, isInward: true },
        { packet: { from: place.bridge, to: device, source: ip, destination: remote }, isInward: false },
      ]),
    );
  });
}

/** A vxlan device carries one family, and its name tells which; any other both. */
function isOf(device: string, family: Family): boolean {
  const kind = /^flannel(-v6)?\.\d+$/.exec(device);
  return kind === null || (kind[1] === undefined ? 4 : 6) === family;
}

/** Rules are by network or by container; of very many containers some tell enough. */
const MAX_CONTAINERS = 100;

/** Of the containers there; without any, of one that could be. */
function addressesIn(containers: readonly Container[], subnet: Prefix): readonly Ip[] {
  const found = containers.flatMap((one) => one.addresses).filter((ip) => containsIp(subnet, ip));
  const any = offsetIp(networkAddress(subnet), 5n);
  return found.length > 0 || !any ? found.slice(0, MAX_CONTAINERS) : [any];
}

function dropped(
  facts: CheckFacts,
  tables: readonly RuleTable[],
  stop: Stop,
  isInward: boolean,
  packets: readonly Packet[],
): Finding {
  const [first] = packets;
  const from = isInward ? first?.from : first?.to;
  const addresses = [...new Set(packets.map((one) => (isInward ? one.destination : one.source)))];
  const some = addresses.slice(0, 3).join(', ') + (addresses.length > 3 ? ` and ${addresses.length - 3} more` : '');
  const rule = stop.rule === undefined ? 'its policy' : `rule ${stop.rule}`;
  const direction = isInward
    ? `to containers here (${some}) from other hosts, by ${from}`
    : `from containers here (${some}) to other hosts, by ${from}`;
  return {
    id: 'dropped',
    severity: 'stops',
    what: `Packets ${direction}, are dropped by ${stop.table}, chain ${stop.chain}, ${rule}`,
    ...reason(facts, tables, stop),
  };
}

const DOCKERS = /^(DOCKER|filter-forward-)|^raw-PREROUTING$/;

function reason(facts: CheckFacts, tables: readonly RuleTable[], stop: Stop): Pick<Finding, 'why' | 'mend'> {
  if (stop.table.endsWith(' docker-bridges')) return { why: NFTABLES_WHY, mend: nftablesMend(facts) };
  if (stop.rule === undefined && stop.chain === 'FORWARD' && usesNftables(facts.engine)) {
    return {
      why: 'An earlier Docker left this policy; the one that runs makes its rules elsewhere, and takes it away only with a reboot',
      mend: 'iptables -P FORWARD ACCEPT',
    };
  }
  const isDockers =
    DOCKERS.test(stop.chain) || (stop.chain === 'PREROUTING' && / ! -i (docker0|br-)/.test(stop.rule ?? ''));
  const ours = tables.flatMap(({ name, chains }) => (name === stop.table ? [...chains.values()] : []));
  const hasOurs = ours.some(({ rules }) => rules.some(({ text }) => text.includes('tartan docker')));
  const restored =
    'The agent puts its accepts there: see `tartan status` why it does not, and whether it runs with --docker-rules=off';
  if (isDockers && !hasOurs) return { why: IPTABLES_WHY, mend: restored };
  if (hasOurs) {
    return {
      why: "tartan's accept is there, but another rule comes first, or it is for other devices or networks",
      mend: "Take the rule out, or move it behind; the agent puts its own in front of what Docker makes, never in front of an operator's",
    };
  }
  if (stop.rule === undefined && stop.chain === 'FORWARD') {
    return {
      why: 'Docker sets this policy, and no rule accepts packets of the network',
      mend: 'Let the agent accept them (--iptables-forward-rules, its default); see `tartan status`',
    };
  }
  return {
    why: 'It is none of the rules of Docker or tartan',
    mend: 'Accept the network before that rule, or take the rule out',
  };
}

const IPTABLES_WHY =
  'Since Docker 28 packets that do not come from its own bridge reach a container only by published ports';
const NFTABLES_WHY = "A drop in Docker's nftables rules is final, whatever other tables accept";

function nftablesMend({ engine, optionFlags }: CheckFacts): string {
  const isSet = [...NFTABLES_FLAGS.keys()].every((name) => optionFlags.has(name) || settingOf(engine, name));
  if (isSet)
    return 'The flags are set: restart Docker, which may run without them still, and see `tartan status` whether the mark is set';
  return `Docker needs ${[...NFTABLES_FLAGS.values()].join(' and ')}: the agent writes them where it is certain that this dockerd knows them (see --dockerd and --docker-rules); then restart Docker`;
}

function bothKinds({ iptables }: Rules): Finding[] {
  const used = iptables.filter(({ isInUse }) => isInUse);
  if (used.length < 2) return [];
  return [
    {
      id: 'both-iptables',
      severity: 'note',
      what: 'There are rules in both kinds of iptables, nft and legacy',
      why: 'Packets must pass both; what one program shows is half of it. Mostly one kind is left over from before a change of the alternative',
      mend: 'Look at both (iptables-nft-save, iptables-legacy-save) and clear the one that nobody keeps any more, at the latest by a reboot',
    },
  ];
}

/** Docker makes these when a container starts, and never again until it is started anew. */
function unpublished(facts: CheckFacts, { iptables, nftables }: Rules): Finding[] {
  const { containers = [], engine, runningFlags } = facts;
  const isOff = [settingOf(engine, 'iptables')?.value, runningFlags?.get('iptables')?.at(-1)]
    .map(String)
    .includes('false');
  const isListed = usesNftables(engine) ? nftables !== undefined : iptables.length > 0;
  if (isOff || !isListed) return [];
  const targets = new Set([...iptables.flatMap((one) => [...one.forwardedTo]), ...(nftables?.forwardedTo ?? [])]);
  const lost = containers.flatMap(({ name, addresses, ports }) => {
    const isThere = (inside: number) => addresses.some((ip) => targets.has(`${ip}:${inside}`));
    const own = addresses.some((ip) => familyOf(ip) === 4) ? ports.filter(({ inside }) => !isThere(inside)) : [];
    return own.length > 0 ? [`${name} (${[...new Set(own.map(({ outside }) => outside))].join(', ')})`] : [];
  });
  if (lost.length === 0) return [];
  return [
    {
      id: 'unpublished',
      severity: 'stops',
      what: `Published ports have no rule any more: ${lost.join(', ')}`,
      why: "Somebody flushed Docker's rules. tartan puts back its own only: what Docker published is Docker's to restore",
      mend: 'Restart Docker (systemctl restart docker)',
    },
  ];
}

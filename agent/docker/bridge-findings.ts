/** Whether Docker's bridges are where the lease is. Pure. */
import { containsIp, containsPrefix, familyOf, overlaps } from '../../config/address.ts';
import type { BridgeNetwork, CheckFacts, FamilyRange, Lease } from './check-facts.ts';
import type { Finding } from './finding.ts';

const DEFAULT = 'docker0';
const DEFAULT_MTU = 1500;

export function bridgeFindings(facts: CheckFacts): Finding[] {
  const { lease } = facts;
  if (!lease) return [];
  const networks = facts.networks ?? [];
  return [
    ...defaultBridge(facts, lease),
    ...networks.flatMap((network) => [...mtu(network, lease), ...overlap(network, lease)]),
    ...masquerade(facts, lease),
  ];
}

function defaultBridge({ addresses, isLiveRestore, links }: CheckFacts, { ranges }: Lease): Finding[] {
  const range = ranges.find(({ subnet }) => familyOf(subnet) === 4);
  if (!range || !links.some(({ name }) => name === DEFAULT)) return [];
  const own = addresses.filter(({ dev, ip }) => dev === DEFAULT && familyOf(ip) === 4);
  if (own.length === 0 || own.some(({ ip }) => containsIp(range.subnet, ip))) return [];
  const has = own.map(({ ip, length }) => `${ip}/${length}`).join(', ');
  const restart = isLiveRestore
    ? 'Stop every container, then restart Docker: with live-restore and containers that run it leaves docker0 as it is'
    : 'Restart Docker (systemctl restart docker): its containers stop, and those with a restart policy come back on the lease';
  return [
    {
      id: 'docker0-off-lease',
      severity: 'stops',
      what: `docker0 has ${has}, which is not in this host's lease ${range.subnet}`,
      why: 'No other host has a route to these addresses. Docker addresses docker0 only when it starts',
      mend: `${restart}. If docker0 is the same afterwards, Docker did not get the options`,
    },
  ];
}

const isOnLease = ({ subnets }: BridgeNetwork, { ranges }: Lease): boolean =>
  subnets.some((one) => ranges.some(({ subnet }) => containsPrefix(subnet, one)));

function mtu(network: BridgeNetwork, lease: Lease): Finding[] {
  const has = network.mtuBytes ?? DEFAULT_MTU;
  if (!isOnLease(network, lease) || network.isInternal || has === lease.mtuBytes) return [];
  const isDefault = network.bridge === DEFAULT;
  return [
    {
      id: 'mtu',
      severity: has > lease.mtuBytes ? 'stops' : 'note',
      what: `Network ${network.name} (${network.bridge}) has an MTU of ${has}, the lease's is ${lease.mtuBytes}`,
      why:
        has > lease.mtuBytes
          ? 'Full packets do not fit into the tunnel: small ones pass, transfers hang where nothing tells their sender'
          : 'Packets are smaller than they could be',
      mend: isDefault
        ? 'Restart Docker, then the containers: they keep the MTU that they were started with'
        : `Create the network anew with -o com.docker.network.driver.mtu=${lease.mtuBytes}`,
    },
  ];
}

/** A subnet that another host may lease, or has leased. */
function overlap({ name, bridge, subnets }: BridgeNetwork, { ranges }: Lease): Finding[] {
  if (bridge === DEFAULT) return [];
  const clash = (range: FamilyRange) =>
    subnets.find((one) => overlaps(range.network, one) && !containsPrefix(range.subnet, one));
  return ranges.flatMap((range) => {
    const subnet = clash(range);
    if (!subnet) return [];
    return [
      {
        id: 'overlap',
        severity: 'stops',
        what: `Docker's network ${name} (${subnet}) lies in the cluster's network ${range.network}, outside of this host's lease ${range.subnet}`,
        why: 'Packets for containers of the host that leases these addresses stay on this host',
        mend: `Create the network anew with a --subnet that is a part of ${range.subnet}, or outside of ${range.network}`,
      } satisfies Finding,
    ];
  });
}

function masquerade({ networks = [] }: CheckFacts, lease: Lease): Finding[] {
  const onLease = networks.filter((network) => isOnLease(network, lease) && !network.isInternal && !network.isRouted);
  const names = (some: readonly BridgeNetwork[]) => some.map(({ name }) => name).join(', ');
  const neither = lease.ipMasq ? [] : onLease.filter(({ isMasqueraded }) => !isMasqueraded);
  const both = lease.ipMasq ? onLease.filter(({ isMasqueraded }) => isMasqueraded) : [];
  const found: Finding[] = [];
  if (neither.length > 0) {
    found.push({
      id: 'no-masquerade',
      severity: 'stops',
      what: `Neither Docker nor tartan masquerades what network ${names(neither)} sends out of the cluster`,
      why: 'Answers from outside do not find their way back to a container: its address means nothing there',
      mend: 'Start the agent with --ip-masq, or Docker with --ip-masq=true (what tartan writes into the options file)',
    });
  }
  if (both.length > 0) {
    found.push({
      id: 'two-masquerades',
      severity: 'note',
      what: `Docker masquerades network ${names(both)}, and tartan does too (--ip-masq)`,
      why: "Packets arrive, but what goes to containers of other hosts has the address of this host's device instead of the container's",
      mend: 'Docker with --ip-masq=false (what tartan writes into the options file); of a user-defined network -o com.docker.network.bridge.enable_ip_masquerade=false',
    });
  }
  return found;
}

/** Judges the facts. Pure. */

import { bridgeFindings } from './bridge-findings.ts';
import type { CheckFacts } from './check-facts.ts';
import { daemonFindings } from './daemon-findings.ts';
import type { Finding } from './finding.ts';
import { packetFindings } from './packet-findings.ts';

const ORDER = ['stops', 'restart', 'note'];

/** The worst first. Empty: nothing is in a packet's way. */
export function findingsOf(facts: CheckFacts): readonly Finding[] {
  const found = facts.engine.isFound
    ? [...leaseFindings(facts), ...daemonFindings(facts), ...bridgeFindings(facts), ...packetFindings(facts)]
    : [noDocker];
  return [...found, ...rootlessFindings(facts)].sort((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity));
}

const noDocker: Finding = {
  id: 'no-docker',
  severity: 'note',
  what: 'There is no Docker on this host: no docker.service, no dockerd, no daemon.json, no docker0',
  why: '',
  mend: 'If there is one in another place, name it with --dockerd',
};

function leaseFindings(facts: CheckFacts): Finding[] {
  return [...noLease(facts), ...noAgent(facts), ...noDevice(facts)];
}

function noLease({ lease, subnetFile }: CheckFacts): Finding[] {
  if (lease) return [];
  return [
    {
      id: 'no-lease',
      severity: 'stops',
      what: `${subnetFile} is missing or names no subnet`,
      why: 'Without a lease Docker has no addresses that other hosts can reach',
      mend: 'Start the agent (systemctl start tartan) and see `tartan status`; then restart Docker',
    },
  ];
}

function noAgent({ lease, hasAgent }: CheckFacts): Finding[] {
  if (!lease || hasAgent) return [];
  return [
    {
      id: 'no-agent',
      severity: 'note',
      what: 'No agent answers on the status socket',
      why: 'What it made stays, but nobody puts back a rule or a route that somebody takes away',
      mend: 'systemctl start tartan; if it runs, name its --subnet-file or --status-socket',
    },
  ];
}

function noDevice({ lease, devices }: CheckFacts): Finding[] {
  if (!lease || devices.length > 0) return [];
  return [
    {
      id: 'no-device',
      severity: 'note',
      what: "No device of tartan's was found",
      why: 'So it is not told whether firewall rules drop packets of the network. With the backend alloc this is as it should be',
      mend: '',
    },
  ];
}

function rootlessFindings({ rootless }: CheckFacts): Finding[] {
  if (rootless.length === 0) return [];
  return [
    {
      id: 'rootless',
      severity: 'note',
      what: `There is a rootless Docker (${rootless.join(', ')}): its bridges are in a network namespace of its own, behind a NAT`,
      why: 'Containers reach other hosts, but no other host reaches a container by its address: the kernel that tartan programs is not theirs. Ports that are published on the host work',
      mend: 'For addresses from the lease run Docker as root',
    },
  ];
}

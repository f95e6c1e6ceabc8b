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
  return found.sort((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity));
}

const noDocker: Finding = {
  id: 'no-docker',
  severity: 'note',
  what: 'There is no Docker on this host: no docker.service, no dockerd, no daemon.json, no docker0',
  why: '',
  mend: 'If there is one in another place, name it with --dockerd',
};

function leaseFindings({ lease, subnetFile }: CheckFacts): Finding[] {
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

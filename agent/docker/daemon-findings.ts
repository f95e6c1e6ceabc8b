/** What in dockerd's configuration keeps it, or will keep it, off the lease. Pure. */

import { containsPrefix, familyOf, type Prefix, parsePrefix } from '../../config/address.ts';
import type { CheckFacts } from './check-facts.ts';
import { dockerWays, type Setting, settingOf, usesNftables } from './engine.ts';
import type { Finding } from './finding.ts';

export function daemonFindings(facts: CheckFacts): Finding[] {
  return [
    ...unread(facts),
    ...twice(facts),
    ...exclusive(facts),
    ...foreignBip(facts),
    ...optionsUnused(facts),
    ...order(facts),
    ...unknownFlags(facts),
    ...nftablesFlags(facts),
    ...forwarding(facts),
    ...etcdInside(facts),
  ];
}

function unread({ engine }: CheckFacts): Finding[] {
  return engine.problems.map((problem) => ({
    id: 'unreadable',
    severity: 'restart',
    what: problem,
    why: 'Docker does not start with a configuration that makes no sense, and tartan can not tell what it says',
    mend: 'Mend the file, and try `dockerd --validate` (Docker 23 and later)',
  }));
}

/** Docker takes no setting from two places, whatever their values. */
function twice({ engine, optionFlags, optionsFile }: CheckFacts): Finding[] {
  const ownOptions = engine.unit?.ownOptions ? [...optionFlags.keys()] : [];
  const clashes = [...engine.settings].flatMap(([name, all]) => {
    const file = all.find(({ isFlag }) => !isFlag);
    const flag = ownOptions.includes(name) ? optionsFile : all.find(({ isFlag }) => isFlag)?.from;
    return file && flag ? [{ name, file: file.from, flag }] : [];
  });
  return clashes.map(({ name, file, flag }) => ({
    id: 'set-twice',
    severity: 'restart',
    what: `"${name}" is set in ${file} and on dockerd's command line (${flag})`,
    why: 'dockerd refuses to start: "the following directives are specified both as a flag and in the configuration file"',
    mend: `Take "${name}" out of ${file}${flag === optionsFile ? ': tartan sets it' : ' or out of the command line'}`,
  }));
}

function exclusive(facts: CheckFacts): Finding[] {
  const bridge = settingOf(facts.engine, 'bridge');
  if (!bridge || !facts.engine.unit?.ownOptions || !facts.optionFlags.has('bip')) return [];
  return [
    {
      id: 'bridge-and-bip',
      severity: 'restart',
      what: `${bridge.from} sets "bridge" (${String(bridge.value)}), and ${facts.optionsFile} sets --bip`,
      why: 'dockerd refuses to start with both',
      mend: 'Take "bridge" out; or keep the bridge, give it the first address of the lease yourself, and do not let docker.service read the options file',
    },
  ];
}

function foreignBip(facts: CheckFacts): Finding[] {
  const bip = settingOf(facts.engine, 'bip');
  const range = facts.lease?.ranges.find(({ subnet }) => familyOf(subnet) === 4);
  if (!bip || !range || isWithin(range.subnet, String(bip.value))) return [];
  if (!bip.isFlag && facts.engine.unit?.ownOptions) return [];
  return [
    {
      id: 'foreign-bip',
      severity: 'restart',
      what: `${bip.from} sets bip to ${String(bip.value)}, which is not in this host's lease ${range.subnet}`,
      why: 'Docker will put docker0 there, and no other host has a route to its containers',
      mend: bip.isFlag
        ? `Take --bip out of ${bip.from}`
        : '`tartan docker opts --format daemon.json` writes the right one; it has to be run again when the lease changes',
    },
  ];
}

/** A part of the lease is as good as all of it: the rest is for networks that users define. */
function isWithin(subnet: Prefix, bip: string): boolean {
  const prefix = parsePrefix(bip);
  return prefix !== undefined && containsPrefix(subnet, prefix);
}

const isFileSet = (setting: Setting | undefined): boolean => setting?.isFlag === false;

function optionsUnused(facts: CheckFacts): Finding[] {
  const { engine, optionsFile } = facts;
  if (!engine.unit || engine.unit.ownOptions || settingOf(engine, 'bip') || settingOf(engine, 'bridge')) return [];
  return [
    {
      id: 'options-unused',
      severity: 'restart',
      what: `${engine.unit.path} does not give dockerd what ${optionsFile || 'the options file'} says, and nothing else sets bip`,
      why: 'Docker chooses a subnet of its own for docker0, on every host the same, and no other host has a route to it',
      mend: 'Install docker.service.d/tartan.conf of the package (EnvironmentFile=, and $DOCKER_NETWORK_OPTIONS in ExecStart=); or write the options to daemon.json: `tartan docker opts --format daemon.json`',
    },
  ];
}

function order(facts: CheckFacts): Finding[] {
  const { unit } = facts.engine;
  if (!unit || unit.after.has('tartan.service') || unit.after.has('flanneld.service')) return [];
  if (!unit.ownOptions && isFileSet(settingOf(facts.engine, 'bip'))) return [];
  const isSafe = unit.ownOptions?.isOptional === false;
  return [
    {
      id: 'starts-first',
      severity: isSafe ? 'note' : 'restart',
      what: 'docker.service has no After=tartan.service',
      why: isSafe
        ? 'At boot Docker may start before the lease is there; it fails then, and is started again only if its Restart= says so'
        : 'At boot Docker may start before the lease is there, and takes a subnet of its own for docker0',
      mend: 'Wants=tartan.service and After=tartan.service, as in docker.service.d/tartan.conf of the package',
    },
  ];
}

function unknownFlags({ engine, optionFlags, optionsFile }: CheckFacts): Finding[] {
  const { knownFlags } = engine;
  // What is known by the API's version alone says nothing of other flags.
  if (!knownFlags?.value.has('bip')) return [];
  const unknown = [...optionFlags.keys()].filter((name) => !knownFlags.value.has(name));
  return unknown.map((name) => ({
    id: 'unknown-flag',
    severity: 'restart',
    what: `${optionsFile} has --${name}, which ${knownFlags.from} does not know`,
    why: 'dockerd refuses to start',
    mend: 'Restart the agent: it writes only flags that the dockerd on this host knows; name that with --dockerd if it was another one',
  }));
}

/** From the next start on; what is dropped now, packets tell. */
function nftablesFlags(facts: CheckFacts): Finding[] {
  const { engine } = facts;
  if (!usesNftables(engine)) return [];
  const { extraFlags, notes } = dockerWays(engine, 'auto');
  const yourself = 'Put these flags on its command line, or these keys into daemon.json, yourself';
  const found = isGiven(facts, WAYS) ? [] : notes.map((what) => finding(what, yourself));
  const missing = extraFlags.filter((flag) => !isGiven(facts, [flag.replace(/^--|=.*$/g, '')]));
  if (missing.length > 0) {
    const what = `Docker's firewall is nftables, and nothing gives dockerd ${missing.join(' ')}`;
    found.push(finding(what, NFTABLES_MEND));
  }
  const refused = settingOf(engine, 'allow-direct-routing');
  if (refused && String(refused.value) !== 'true') {
    const what = `${refused.from} sets allow-direct-routing to ${String(refused.value)}`;
    found.push(finding(what, 'Set it to true, or take it out'));
  }
  return found;
}

const WAYS = ['bridge-accept-fwmark', 'allow-direct-routing'];
const NFTABLES_MEND =
  'The agent writes them into the options file that docker.service is to read; or `tartan docker opts --format daemon.json` writes them there. Then restart Docker';

/** By daemon.json or the unit; where there is none, by whoever started it, or has the options file to start it with. */
function isGiven({ engine, optionFlags, runningFlags }: CheckFacts, names: readonly string[]): boolean {
  const { unit } = engine;
  const given = unit ? unit.ownOptions && optionFlags : (runningFlags ?? optionFlags);
  return names.every((name) => settingOf(engine, name) !== undefined || given?.has(name));
}

function finding(what: string, mend: string): Finding {
  const why =
    'A drop in the nftables rules of Docker is final: only a mark that Docker was told to accept, and direct routing, let packets of other hosts reach a container';
  return { id: 'nftables-flags', severity: 'restart', what, why, mend };
}

function forwarding({ forwardingOff, engine }: CheckFacts): Finding[] {
  return forwardingOff.map((sysctl) => ({
    id: 'ip-forward',
    severity: 'stops',
    what: `${sysctl} is 0`,
    why: `The kernel forwards nothing between hosts and containers${usesNftables(engine) ? ', and Docker does not start with its nftables firewall' : ''}`,
    mend: `sysctl -w ${sysctl}=1 (90-tartan.conf of the package keeps it over reboots; the agent sets it where it may)`,
  }));
}

function etcdInside({ containers = [], engine }: CheckFacts): Finding[] {
  const isEtcd = /(^|\/)etcd(:|@|$|\s)/;
  const found = containers.find(
    ({ image, command, ports, isOnHost }) =>
      (isEtcd.test(image) || isEtcd.test(command.split(' ')[0] ?? '')) &&
      (isOnHost || ports.some(({ outside }) => outside === 2379)),
  );
  if (!found || !engine.unit?.after.has('tartan.service')) return [];
  return [
    {
      id: 'etcd-inside',
      severity: 'note',
      what: `etcd runs in a container of this Docker (${found.name}), and Docker starts after tartan`,
      why: 'If the cluster has no other member, the very first boot waits for itself: tartan for etcd, etcd for Docker, Docker for the lease. Later boots go on with the lease that tartan remembers, as long as it is good',
      mend: 'Run etcd outside of Docker or in one of its own, or have other members',
    },
  ];
}

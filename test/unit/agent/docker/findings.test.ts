import { readFileSync } from 'node:fs';
import test from 'ava';
import type { CheckFacts } from '../../../../agent/docker/check-facts.ts';
import { bridgeNetworks, runningContainers } from '../../../../agent/docker/docker-objects.ts';
import { type Engine, NO_ENGINE, type Setting } from '../../../../agent/docker/engine.ts';
import { renderFindings } from '../../../../agent/docker/finding.ts';
import { findingsOf } from '../../../../agent/docker/findings.ts';
import { flagsInOptions, parseLease } from '../../../../agent/docker/lease-file.ts';
import type { AddressInfo, LinkInfo } from '../../../../backends/state.ts';
import { ip } from '../../../support/addresses.ts';

const golden = (name: string) => readFileSync(`test/golden/docker-rules/${name}`, 'utf8');

const DAEMON = '/etc/docker/daemon.json';
const OPTIONS = '/run/flannel/docker';
const UNIT = {
  path: '/etc/systemd/system/docker.service',
  after: new Set(['tartan.service']),
  ownOptions: { isOptional: false },
};
const SUBNET_ENV = 'FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.17.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n';

const inFile = (value: unknown): Setting[] => [{ value, from: DAEMON, isFlag: false }];
const onLine = (value: unknown): Setting[] => [{ value, from: UNIT.path, isFlag: true }];

function address(dev: string, text: string): AddressInfo {
  const base = { permanent: true, temporary: false, deprecated: false };
  return { ...base, dev, ip: ip(text), length: 24 };
}

const link = (name: string): LinkInfo => ({
  ...{ index: 1, name, mac: undefined, mtuBytes: 1450, up: true, loopback: false, type: '', vxlan: undefined },
});

/** The listings of the golden hosts: a bridge on the lease, one elsewhere, a published port. */
const networks = bridgeNetworks(JSON.parse(golden('29-networks.json'))) ?? [];
const containers = runningContainers(JSON.parse(golden('29-containers.json')), networks) ?? [];

const ACCEPT = '-i flannel.1 -s 10.5.0.0/16 -d 10.5.17.0/24 -m comment --comment "tartan docker" -j ACCEPT';
const SAVED = golden('29-iptables.save');
const ACCEPTED = SAVED.replace('-A PREROUTING', `-A PREROUTING ${ACCEPT}\n-A PREROUTING`).replace(
  '-A FORWARD -j DOCKER-USER',
  `-A DOCKER-USER ${ACCEPT}\n-A FORWARD -j DOCKER-USER`,
);

const ENGINE: Engine = {
  ...NO_ENGINE,
  ...{ isFound: true, pid: 7, version: '29.1.0', apiVersion: '1.52', runningBackend: 'iptables' },
  ...{
    unit: UNIT,
    configFile: DAEMON,
    knownFlags: { value: new Set(['bip', 'mtu', 'ip-masq']), from: '/usr/bin/dockerd' },
  },
};

/** A host on which all is well. */
const GOOD: CheckFacts = {
  engine: ENGINE,
  ...{ subnetFile: '/run/flannel/subnet.env', lease: parseLease(SUBNET_ENV) },
  optionsFile: OPTIONS,
  optionFlags: flagsInOptions('DOCKER_NETWORK_OPTIONS=" --bip=10.5.17.1/24 --ip-masq=true --mtu=1450"\n'),
  ...{ runningFlags: undefined, hasAgent: true, devices: ['flannel.1'], links: [link('docker0')] },
  addresses: [address('docker0', '10.5.17.1')],
  ...{ networks, containers },
  rules: { iptables: new Map([['iptables', ACCEPTED]]), ip6tables: new Map(), nftables: undefined, problems: [] },
  ...{ forwardingOff: [], rootless: [], isLiveRestore: false },
};

const engine = (change: Partial<Engine>): Partial<CheckFacts> => ({ engine: { ...ENGINE, ...change } });
const settings = (...all: [string, Setting[]][]) => engine({ settings: new Map(all) });
const rules = (change: Partial<CheckFacts['rules']>): Partial<CheckFacts> => ({ rules: { ...GOOD.rules, ...change } });
const iptables = (...texts: string[]) =>
  rules({ iptables: new Map(texts.map((text, at) => [`iptables-${at}`, text])) });
const network = (change: Partial<(typeof networks)[number]>) => ({
  networks: networks.map((one) => (one.bridge === 'docker0' ? { ...one, ...change } : one)),
});

const NFT_PLAIN = { nftables: golden('29-nftables.json'), iptables: new Map<string, string>() };
const NFT_FLAGGED = { ...NFT_PLAIN, nftables: golden('29-nftables-mark.json') };
const WAYS = new Set(['bip', 'mtu', 'ip-masq', 'bridge-accept-fwmark', 'allow-direct-routing']);
const NFTABLES = { runningBackend: 'nftables', knownFlags: { value: WAYS, from: '/usr/bin/dockerd' } } as const;
const etcd = {
  name: 'etcd0',
  image: 'quay.io/coreos/etcd:v3.6.8',
  command: 'etcd',
  addresses: [],
  ports: [],
  isOnHost: true,
};

const cases: readonly (readonly [name: string, change: Partial<CheckFacts>, found: readonly string[]])[] = [
  ['all is well', {}, []],
  ['no Docker', { engine: NO_ENGINE }, ['note no-docker']],
  ['no lease', { lease: undefined }, ['stops no-lease']],
  ['no agent', { hasAgent: false }, ['note no-agent']],
  ['no device', { devices: [] }, ['note no-device']],
  ['docker0 elsewhere', { addresses: [address('docker0', '172.17.0.1')] }, ['stops docker0-off-lease']],
  ['docker0 on another lease', { addresses: [address('docker0', '10.5.18.1')] }, ['stops docker0-off-lease']],
  ['docker0 on a part of the lease', { addresses: [address('docker0', '10.5.17.129')] }, []],
  ['no docker0', { addresses: [], links: [] }, []],
  ['an MTU that is too large', network({ mtuBytes: 1500 }), ['stops mtu']],
  ["Docker's default MTU", network({ mtuBytes: undefined }), ['stops mtu']],
  ['an MTU that is small', network({ mtuBytes: 1400 }), ['note mtu']],
  ['nobody masquerades', network({ isMasqueraded: false }), ['stops no-masquerade']],
  ['both masquerade', { lease: parseLease(SUBNET_ENV.replace('=false', '=true')) }, ['note two-masquerades']],
  [
    'a network in the range of others',
    {
      networks: networks.map((one) => (one.bridge === 'br-user' ? { ...one, subnets: network_('10.5.33.0/24') } : one)),
    },
    ['stops overlap'],
  ],
  ['bip in daemon.json too', settings(['bip', inFile('10.5.17.1/24')]), ['restart set-twice']],
  ['mtu in daemon.json too', settings(['mtu', inFile(1450)]), ['restart set-twice']],
  ['hosts in both', settings(['host', [...inFile(['tcp://x']), ...onLine('fd://')]]), ['restart set-twice']],
  ['a bip of the command line', settings(['bip', onLine('10.9.0.1/24')]), ['restart foreign-bip']],
  ['a bridge', settings(['bridge', inFile('br0')]), ['restart bridge-and-bip']],
  ['a unit without the options', engine({ unit: { ...UNIT, ownOptions: undefined } }), ['restart options-unused']],
  [
    'the options in daemon.json instead',
    engine({
      unit: { ...UNIT, after: new Set(), ownOptions: undefined },
      settings: new Map([['bip', inFile('10.5.17.1/24')]]),
    }),
    [],
  ],
  [
    'a part of the lease in daemon.json',
    engine({ unit: { ...UNIT, ownOptions: undefined }, settings: new Map([['bip', inFile('10.5.17.1/25')]]) }),
    [],
  ],
  [
    'an older lease in daemon.json',
    engine({ unit: { ...UNIT, ownOptions: undefined }, settings: new Map([['bip', inFile('10.5.9.1/24')]]) }),
    ['restart foreign-bip'],
  ],
  ['Docker starts whenever', engine({ unit: { ...UNIT, after: new Set() } }), ['note starts-first']],
  [
    'Docker starts whenever, with or without a lease',
    engine({ unit: { ...UNIT, after: new Set(), ownOptions: { isOptional: true } } }),
    ['restart starts-first'],
  ],
  [
    'a flag that this Docker does not know',
    { optionFlags: flagsInOptions('X="--allow-direct-routing"') },
    ['restart unknown-flag'],
  ],
  [
    'a file that makes no sense',
    engine({ problems: ['/etc/docker/daemon.json: it is no JSON object'] }),
    ['restart unreadable'],
  ],
  ['forwarding is off', { forwardingOff: ['net.ipv4.ip_forward'] }, ['stops ip-forward']],
  ['rootless', { rootless: ["user 1000's"] }, ['note rootless']],
  ['rootless alone', { engine: NO_ENGINE, rootless: ["user 1000's"] }, ['note no-docker', 'note rootless']],
  ['etcd inside', { containers: [etcd] }, ['note etcd-inside']],
  ['rules without our accepts', iptables(SAVED), ['stops dropped']],
  ['one of our accepts', iptables(ACCEPTED.replace(`-A DOCKER-USER ${ACCEPT}\n`, '')), ['stops dropped']],
  [
    "somebody's drop before ours",
    iptables(ACCEPTED.replace('-A DOCKER-USER', '-A DOCKER-USER -j DROP\n-A DOCKER-USER')),
    ['stops dropped', 'stops dropped'],
  ],
  ['two kinds of iptables', iptables(ACCEPTED, '*filter\n:INPUT DROP [0:0]\nCOMMIT\n'), ['note both-iptables']],
  ['the nat table was flushed', iptables(ACCEPTED.replaceAll(/^-A DOCKER -p tcp .*\n/gm, '')), ['stops unpublished']],
  [
    'nothing can be listed',
    rules({ iptables: new Map(), problems: ['there is neither iptables-save nor nft'] }),
    ['note unlisted'],
  ],
  ['nftables without flags', { ...engine(NFTABLES), ...rules(NFT_PLAIN) }, ['stops dropped', 'restart nftables-flags']],
  [
    'nftables, flags to come',
    {
      ...engine({ ...NFTABLES, runningBackend: 'iptables', chosenBackend: { value: 'nftables', from: DAEMON } }),
      optionFlags: flagsInOptions('X="--bip=10.5.17.1/24 --bridge-accept-fwmark=0x1000/0x1000 --allow-direct-routing"'),
    },
    [],
  ],
  [
    'nftables, with flags and without the mark',
    {
      ...engine({ ...NFTABLES, unit: undefined }),
      ...rules(NFT_FLAGGED),
      runningFlags: flagsInOptions('X="--bridge-accept-fwmark=0x1000/0x1000 --allow-direct-routing"'),
    },
    ['stops dropped'],
  ],
  [
    'nftables, and routing refused',
    {
      ...engine({
        ...NFTABLES,
        runningBackend: 'iptables',
        chosenBackend: { value: 'nftables', from: DAEMON },
        settings: new Map([
          ['allow-direct-routing', inFile(false)],
          ['bridge-accept-fwmark', inFile('0x54')],
        ]),
      }),
    },
    ['restart nftables-flags'],
  ],
];

function network_(subnet: string) {
  return bridgeNetworks([{ Driver: 'bridge', IPAM: { Config: [{ Subnet: subnet }] } }])?.[0]?.subnets ?? [];
}

for (const [name, change, found] of cases) {
  test(name, (t) => {
    const findings = findingsOf({ ...GOOD, ...change });
    t.deepEqual(
      findings.map(({ severity, id }) => `${severity} ${id}`),
      found,
      renderFindings(findings),
    );
    for (const { what, why, mend } of findings) t.notRegex(`${what}${why}${mend}`, /undefined|NaN|\[object/);
  });
}

test('the golden containers are understood', (t) => {
  t.deepEqual(
    containers.map(({ name, addresses, ports }) => [
      name,
      addresses,
      [...new Set(ports.map(({ outside }) => outside))],
    ]),
    [
      ['other', [ip('172.30.5.2')], []],
      ['quiet', [ip('10.5.17.3')], []],
      ['web', [ip('10.5.17.2')], [8080]],
    ],
  );
  const older = bridgeNetworks(JSON.parse(golden('20.10-networks.json'))) ?? [];
  t.deepEqual(
    older.map(({ name, bridge, mtuBytes }) => [name, bridge, mtuBytes]),
    [
      ['bridge', 'docker0', 1450],
      ['user', 'br-user', undefined],
    ],
  );
  t.is(runningContainers(JSON.parse(golden('20.10-containers.json')), older)?.length, 3);
});

test('answers that make no sense are passed over', (t) => {
  for (const answer of [undefined, null, 7, {}, 'x']) {
    t.is(bridgeNetworks(answer), undefined);
    t.is(runningContainers(answer, []), undefined);
  }
  t.is(bridgeNetworks([7, null, {}, { Driver: 'bridge' }])?.length, 1);
  t.is(
    runningContainers([7, null, {}, { Ports: [7, {}], NetworkSettings: { Networks: { a: 1, b: {} } } }], [])?.length,
    2,
  );
});

test('a finding is one paragraph', (t) => {
  const text = renderFindings(
    findingsOf({ ...GOOD, forwardingOff: ['net.ipv4.ip_forward'], rootless: ["user 1000's"] }),
  );
  t.regex(text, /^STOPS PACKETS \(ip-forward\): net\.ipv4\.ip_forward is 0\. .*\.\n\nnote \(rootless\): .*\n$/s);
});

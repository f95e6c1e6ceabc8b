/**
 * Every option of tartan, once. The command line, the environment, `help`, the README's table and the validation all
 * derive from this table. A property's name is the option's: `etcdPrefix` is `--etcd-prefix`, TARTAN_ETCD_PREFIX and,
 * where flanneld has it too, FLANNELD_ETCD_PREFIX.
 */

import { type Ip, parseIp } from './address.ts';
import type { Command } from './commands.ts';
import { DATA_PATH_FEATURES, type DataPathFeature } from './data-path-features.ts';
import {
  address,
  boolean,
  choice,
  choices,
  endpoints,
  filledText,
  hostAddress,
  integer,
  type Kind,
  keyPrefix,
  list,
  regexes,
  text,
  variableName,
} from './option-kinds.ts';

export interface Options {
  /** `scheme://host:port`, one at least. */
  readonly etcdEndpoints: readonly string[];
  /** Without a trailing slash. */
  readonly etcdPrefix: string;
  /** Paths of PEM files; "" for none, as with the other texts. */
  readonly etcdKeyfile: string;
  readonly etcdCertfile: string;
  readonly etcdCafile: string;
  readonly etcdUsername: string;
  readonly etcdPassword: string;
  /** Seconds. */
  readonly leaseTtl: number;
  /** Minutes before the expiry. */
  readonly subnetLeaseRenewMargin: number;
  /** "": the environment's or the machine's own. */
  readonly nodeName: string;
  readonly iface: readonly string[];
  readonly ifaceRegex: readonly RegExp[];
  readonly ifaceCanReach: Ip | undefined;
  readonly publicIp: Ip | undefined;
  readonly publicIpv6: Ip | undefined;
  readonly subnetFile: string;
  readonly stateDir: string;
  readonly statusSocket: string;
  /** "": none is written. */
  readonly dockerOptsFile: string;
  readonly dockerOptsKey: string;
  readonly ipMasq: boolean;
  readonly ipMasqFullyRandomDisable: boolean;
  readonly iptablesForwardRules: boolean;
  /** Seconds. */
  readonly iptablesResync: number;
  readonly dockerRules: 'auto' | 'iptables' | 'nftables' | 'off';
  /** "": docker.service's, else that of PATH. */
  readonly dockerd: string;
  readonly peerFilter: 'strict' | 'enforce' | 'report' | 'off';
  readonly ipBlackholeRoute: boolean;
  /** Seconds. */
  readonly resync: number;
  readonly nexthopObjects: 'auto' | 'off';
  /** Seconds; 0: off. */
  readonly pathProbe: number;
  readonly dataPathWithout: readonly DataPathFeature[];
  readonly healthzIp: Ip;
  /** 0: no server. */
  readonly healthzPort: number;
  readonly json: boolean;
  readonly check: boolean;
  readonly force: boolean;
  readonly release: boolean;
  readonly purge: boolean;
  /** Seconds; 0: for ever. */
  readonly timeout: number;
  readonly logLevel: 'error' | 'warn' | 'info' | 'debug';
  readonly logFormat: 'auto' | 'human' | 'json' | 'journald';
}

export type OptionKey = keyof Options;
export type OptionDraft = { -readonly [K in OptionKey]?: Options[K] };

export const GROUPS = ['etcd', 'interface', 'files', 'firewall', 'behaviour', 'logging'] as const;

export interface Option<T> {
  readonly kind: Kind<T>;
  readonly default: T;
  readonly group: (typeof GROUPS)[number];
  readonly commands: readonly Command[];
  /** Whether flanneld has the option, so that its FLANNELD_ variable counts. */
  readonly isFlannels: boolean;
  /** One sentence, without the default. */
  readonly doc: string;
  /** The default in words, where it depends on something else. */
  readonly defaultText?: string;
  readonly isSecret?: boolean;
  /** Another variable that gives the value where neither the flag nor TARTAN_… does. */
  readonly alsoFrom?: string;
  /** What is to be said about a value that was given. */
  readonly judge?: (value: T) => { readonly refused: string } | { readonly warning: string } | undefined;
  /** The value in the light of the other options, once all are read. */
  readonly settle?: (value: T, others: Readonly<OptionDraft>) => T;
}

const ETCD: readonly Command[] = ['run', 'config get', 'config set', 'config check', 'leases', 'down'];
const RUN: readonly Command[] = ['run'];
const RUN_DOWN: readonly Command[] = ['run', 'down'];
const SOCKET: readonly Command[] = ['run', 'status', 'wait', 'down', 'docker check'];
const LOGGING: readonly Command[] = [...ETCD, 'status', 'wait'];

/** setTimeout's longest wait, in seconds. */
const MAX_WAIT = 2_147_483;
const ANY_IPV4 = parseIp('0.0.0.0');

/** Stands for a default that another option decides, where "" means something; no path has a NUL. */
const BESIDE = '\0';

export const OPTIONS: { readonly [K in OptionKey]: Option<Options[K]> } = {
  etcdEndpoints: {
    kind: endpoints,
    default: ['http://127.0.0.1:4001', 'http://127.0.0.1:2379'],
    group: 'etcd',
    commands: ETCD,
    isFlannels: true,
    doc: 'URLs of the etcd members, separated by commas; https:// means TLS.',
    settle: (urls, { etcdKeyfile, etcdCertfile }) => {
      const scheme = etcdKeyfile && etcdCertfile ? 'https' : 'http';
      return urls.map((url) => (url.includes('://') ? url : `${scheme}://${url}`));
    },
  },
  etcdPrefix: {
    kind: keyPrefix,
    default: '/coreos.com/network',
    group: 'etcd',
    commands: ETCD,
    isFlannels: true,
    doc: 'Where in etcd the network config and the leases are.',
  },
  etcdKeyfile: {
    kind: text('FILE'),
    default: '',
    group: 'etcd',
    commands: ETCD,
    isFlannels: true,
    doc: 'Private key of the client certificate (PEM).',
  },
  etcdCertfile: {
    kind: text('FILE'),
    default: '',
    group: 'etcd',
    commands: ETCD,
    isFlannels: true,
    doc: 'Client certificate to show to etcd (PEM).',
  },
  etcdCafile: {
    kind: text('FILE'),
    default: '',
    group: 'etcd',
    commands: ETCD,
    isFlannels: true,
    doc: "Certificate authority that signed etcd's certificates (PEM).",
    defaultText: "the system's authorities",
  },
  etcdUsername: {
    kind: text('NAME'),
    default: '',
    group: 'etcd',
    commands: ETCD,
    isFlannels: true,
    doc: 'User to log in to etcd as.',
  },
  etcdPassword: {
    kind: text('PASSWORD'),
    default: '',
    group: 'etcd',
    commands: ETCD,
    isFlannels: true,
    isSecret: true,
    doc: "That user's password; better given by the environment, since flags show in process lists.",
  },
  leaseTtl: {
    kind: integer('SECONDS', 5, 2 ** 31),
    default: 86_400,
    group: 'etcd',
    commands: RUN,
    isFlannels: false,
    doc: "How long the lease outlives an agent that doesn't renew it.",
  },
  subnetLeaseRenewMargin: {
    kind: integer('MINUTES', 1, 1439),
    default: 60,
    group: 'etcd',
    commands: RUN,
    isFlannels: true,
    doc: "How long before the lease's end it is renewed at the latest.",
  },
  nodeName: {
    kind: text('NAME'),
    default: '',
    group: 'etcd',
    commands: RUN_DOWN,
    isFlannels: false,
    doc: 'Stable name of this host among the hosts of the network.',
    defaultText: 'derived from the machine-id',
    alsoFrom: 'NODE_NAME',
  },
  iface: {
    kind: list('NAME|ADDRESS'),
    default: [],
    group: 'interface',
    commands: RUN,
    isFlannels: true,
    doc: 'Interface to reach the other hosts by, by name or address; may be repeated, the first that fits is taken.',
    defaultText: "the default route's",
  },
  ifaceRegex: {
    kind: regexes,
    default: [],
    group: 'interface',
    commands: RUN,
    isFlannels: true,
    doc: "Expression that matches the interface's address or name, tried after --iface; may be repeated.",
  },
  ifaceCanReach: {
    kind: hostAddress(),
    default: undefined,
    group: 'interface',
    commands: RUN,
    isFlannels: true,
    doc: 'Take the interface that this address is reached by; tried last.',
  },
  publicIp: {
    kind: hostAddress(4),
    default: undefined,
    group: 'interface',
    commands: RUN,
    isFlannels: true,
    doc: 'IPv4 address that the other hosts reach this one at.',
    defaultText: "the interface's",
  },
  publicIpv6: {
    kind: hostAddress(6),
    default: undefined,
    group: 'interface',
    commands: RUN,
    isFlannels: true,
    doc: 'IPv6 address that the other hosts reach this one at.',
    defaultText: "the interface's",
  },
  subnetFile: {
    kind: filledText('FILE'),
    default: '/run/flannel/subnet.env',
    group: 'files',
    commands: SOCKET,
    isFlannels: true,
    doc: "Where the agent writes this host's subnet and MTU.",
  },
  dockerOptsFile: {
    kind: text('FILE'),
    default: BESIDE,
    group: 'files',
    commands: ['run', 'down', 'docker check'],
    isFlannels: false,
    doc: "Where the agent writes dockerd's options, as an EnvironmentFile; empty: nowhere.",
    defaultText: '"docker" beside a subnet file named subnet.env, else that file with .docker as its extension',
    settle: (file, { subnetFile }) => (file === BESIDE ? dockerOptsBeside(subnetFile ?? '') : file),
  },
  dockerOptsKey: {
    kind: variableName,
    default: 'DOCKER_NETWORK_OPTIONS',
    group: 'files',
    commands: RUN,
    isFlannels: false,
    doc: 'Name of the variable in that file.',
  },
  stateDir: {
    kind: text('DIRECTORY'),
    default: '',
    group: 'files',
    commands: RUN_DOWN,
    isFlannels: false,
    doc: 'What the agent remembers over restarts; one agent per directory.',
    defaultText: '/var/lib/tartan/<etcd-prefix>',
    settle: (directory, { etcdPrefix }) => directory || `/var/lib/tartan/${(etcdPrefix ?? '').replace(/^\//, '')}`,
  },
  statusSocket: {
    kind: text('FILE'),
    default: '',
    group: 'files',
    commands: SOCKET,
    isFlannels: false,
    doc: 'Unix socket that status, wait and down reach the agent by.',
    defaultText: 'the subnet file with .sock as its extension',
    settle: (file, { subnetFile }) => file || socketBeside(subnetFile ?? ''),
  },
  ipMasq: {
    kind: boolean,
    default: false,
    group: 'firewall',
    commands: RUN,
    isFlannels: true,
    doc: "Masquerade what leaves the network, instead of Docker's own masquerading.",
  },
  ipMasqFullyRandomDisable: {
    kind: boolean,
    default: false,
    group: 'firewall',
    commands: RUN,
    isFlannels: true,
    doc: "Don't randomise the ports of masqueraded connections.",
  },
  iptablesForwardRules: {
    kind: boolean,
    default: true,
    group: 'firewall',
    commands: RUN,
    isFlannels: true,
    doc: 'Accept forwarded packets of the network.',
  },
  iptablesResync: {
    kind: integer('SECONDS', 1, MAX_WAIT),
    default: 5,
    group: 'firewall',
    commands: RUN,
    isFlannels: true,
    doc: 'How often firewall rules are checked where the kernel does not tell that somebody changed them.',
  },
  dockerRules: {
    kind: choice('auto', 'iptables', 'nftables', 'off'),
    default: 'auto',
    group: 'firewall',
    commands: RUN,
    isFlannels: false,
    doc: "Let packets of the network through Docker's own drops; auto: as the Docker on this host needs it.",
  },
  dockerd: {
    kind: text('FILE'),
    default: '',
    group: 'firewall',
    commands: ['run', 'docker check'],
    isFlannels: false,
    doc: "Docker's daemon, to see which flags it knows.",
    defaultText: "docker.service's, else that of PATH",
  },
  peerFilter: {
    kind: choice('strict', 'enforce', 'report', 'off'),
    default: 'enforce',
    group: 'firewall',
    commands: RUN,
    isFlannels: false,
    doc: 'What becomes of encapsulated packets from an address that no live lease names: dropped, or only counted; strict: in user space also drop inner sources outside of the network.',
  },
  ipBlackholeRoute: {
    kind: boolean,
    default: false,
    group: 'behaviour',
    commands: RUN,
    isFlannels: true,
    doc: "Drop packets to addresses of this host's subnet that nobody has; not offered yet.",
    judge: (on) => (on ? { refused: 'this version adds no blackhole route; leave it out' } : undefined),
  },
  resync: {
    kind: integer('SECONDS', 1, MAX_WAIT),
    default: 60,
    group: 'behaviour',
    commands: RUN,
    isFlannels: false,
    doc: 'How often the kernel is read as a whole and compared with the leases.',
  },
  nexthopObjects: {
    kind: choice('auto', 'off'),
    default: 'auto',
    group: 'behaviour',
    commands: RUN,
    isFlannels: false,
    doc: 'Whether peer routes use nexthop objects where the kernel has them.',
  },
  pathProbe: {
    kind: integer('SECONDS', 0, MAX_WAIT),
    default: 60,
    group: 'behaviour',
    commands: RUN,
    isFlannels: false,
    doc: 'How often the path to each VXLAN peer is probed; 0: never.',
  },
  dataPathWithout: {
    kind: choices(...DATA_PATH_FEATURES),
    default: [],
    group: 'behaviour',
    commands: RUN,
    isFlannels: false,
    doc: 'What the data path in user space does without, where a kernel or a network card is at fault.',
    defaultText: 'what the kernel has is used',
  },
  healthzIp: {
    kind: address,
    default: ANY_IPV4 ?? unreachable(),
    group: 'behaviour',
    commands: RUN,
    isFlannels: true,
    doc: 'Address that /healthz, /readyz and /metrics are served at.',
  },
  healthzPort: {
    kind: integer('PORT', 0, 65_535),
    default: 0,
    group: 'behaviour',
    commands: RUN,
    isFlannels: true,
    doc: 'TCP port of the same; 0: not served.',
  },
  json: {
    kind: boolean,
    default: false,
    group: 'behaviour',
    commands: ['leases', 'status', 'docker check'],
    isFlannels: false,
    doc: 'Print JSON instead of a table.',
  },
  check: {
    kind: boolean,
    default: false,
    group: 'behaviour',
    commands: ['status'],
    isFlannels: false,
    doc: 'Tell by the exit status whether the agent is ready and in step.',
  },
  force: {
    kind: boolean,
    default: false,
    group: 'behaviour',
    commands: ['config set', 'down'],
    isFlannels: false,
    doc: 'Store the config even if live leases fall out of it; take the network down even if a flanneld has it now.',
  },
  release: {
    kind: boolean,
    default: false,
    group: 'behaviour',
    commands: ['down'],
    isFlannels: false,
    doc: 'Give the lease back too, so that another host may have the subnet at once.',
  },
  purge: {
    kind: boolean,
    default: false,
    group: 'behaviour',
    commands: ['down'],
    isFlannels: false,
    doc: "Remove the state directory too: this host's identity, and all that tartan remembers.",
  },
  timeout: {
    kind: integer('SECONDS', 0, MAX_WAIT),
    default: 0,
    group: 'behaviour',
    commands: ['wait'],
    isFlannels: false,
    doc: 'How long to wait; 0: for ever.',
  },
  logLevel: {
    kind: choice('error', 'warn', 'info', 'debug'),
    default: 'info',
    group: 'logging',
    commands: LOGGING,
    isFlannels: false,
    doc: 'The least severe events that are logged.',
  },
  logFormat: {
    kind: choice('auto', 'human', 'json', 'journald'),
    default: 'auto',
    group: 'logging',
    commands: LOGGING,
    isFlannels: false,
    doc: 'How events are written to standard error; auto: human on a terminal, journald under systemd, else json.',
  },
};

function unreachable(): never {
  throw new TypeError('a default is no address');
}

function withoutExtension(file: string): string {
  return file.replace(/(?<=[^/])\.[^./]*$/, '');
}

/** `/run/flannel/subnet.env` → `/run/flannel/subnet.sock`. */
function socketBeside(file: string): string {
  return `${withoutExtension(file)}.sock`;
}

/** `/run/flannel/subnet.env` → `/run/flannel/docker`, `/run/flannel/two.env` → `/run/flannel/two.docker`. */
function dockerOptsBeside(file: string): string {
  const usual = /^(.*\/)?subnet\.env$/.exec(file);
  return usual ? `${usual[1] ?? ''}docker` : `${withoutExtension(file)}.docker`;
}

function isOptionKey(name: string): name is OptionKey {
  return Object.hasOwn(OPTIONS, name);
}

export const OPTION_KEYS: readonly OptionKey[] = Object.keys(OPTIONS).filter(isOptionKey);

/** `etcdPrefix` → `etcd-prefix`. */
export function flagName(key: OptionKey): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `healthz-port` → `HEALTHZ_PORT`. */
export function variableSuffix(flag: string): string {
  return flag.toUpperCase().replaceAll('-', '_');
}

export function isTakenBy(key: OptionKey, command: Command): boolean {
  return OPTIONS[key].commands.includes(command);
}

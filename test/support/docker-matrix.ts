/**
 * Which packets cross with which Docker, as the README's table has it. test/e2e/docker-matrix.test.ts runs every line on
 * real hosts; what it sees must be what stands here.
 */
import type { DockerVersion } from './docker-engine.ts';

/** What Docker makes its rules with. */
export type Firewall = 'iptables-nft' | 'iptables-legacy' | 'nftables';

/** Whose address the receiver sees; `blocked`: nothing arrives. */
export type Seen = 'container' | 'host' | 'VTEP' | 'blocked';

/** Every way that is tried, in both directions between the two hosts. */
export interface Traffic {
  /** Full-sized packets included. */
  readonly toContainer: Seen;
  readonly toRemoteHost: Seen;
  readonly hostToContainer: Seen;
  /** A machine without agent, which has no way back to containers' own addresses. */
  readonly toOutside: Seen;
  readonly publishedToHost: Seen;
  readonly publishedToContainer: Seen;
  readonly publishedToOutside: Seen;
}

export interface MatrixLine {
  readonly docker: DockerVersion;
  readonly firewall: Firewall;
  readonly ipMasq: boolean;
  /** Whether the agent can tell which dockerd runs, and so writes its flags for the nftables backend. */
  readonly knowsDockerd: boolean;
  readonly traffic: Traffic;
}

/** Of the agent's own masquerade: nothing inside the network has another's address. */
export const MASQUERADED_BY_AGENT: Traffic = {
  toContainer: 'container',
  toRemoteHost: 'host',
  hostToContainer: 'VTEP',
  toOutside: 'host',
  publishedToHost: 'host',
  publishedToContainer: 'host',
  publishedToOutside: 'host',
};

/** Docker masquerades whatever leaves docker0, also into the overlay. */
export const MASQUERADED_BY_DOCKER: Traffic = { ...MASQUERADED_BY_AGENT, toContainer: 'VTEP' };

const BLOCKED = { toContainer: 'blocked', hostToContainer: 'blocked' } as const;

function bothWays(what: Omit<MatrixLine, 'ipMasq' | 'traffic'>, less: Partial<Traffic> = {}): readonly MatrixLine[] {
  return [
    { ...what, ipMasq: true, traffic: { ...MASQUERADED_BY_AGENT, ...less } },
    { ...what, ipMasq: false, traffic: { ...MASQUERADED_BY_DOCKER, ...less } },
  ];
}

export const MATRIX: readonly MatrixLine[] = [
  ...bothWays({ docker: '20.10', firewall: 'iptables-nft', knowsDockerd: true }),
  ...bothWays({ docker: '20.10', firewall: 'iptables-legacy', knowsDockerd: true }),
  ...bothWays({ docker: '29', firewall: 'iptables-nft', knowsDockerd: true }),
  ...bothWays({ docker: '29', firewall: 'iptables-legacy', knowsDockerd: true }),
  ...bothWays({ docker: '29', firewall: 'nftables', knowsDockerd: true }),
  ...bothWays({ docker: '29', firewall: 'nftables', knowsDockerd: false }, BLOCKED),
];

const FIREWALLS: Readonly<Record<Firewall, string>> = {
  'iptables-nft': 'iptables (nft)',
  'iptables-legacy': 'iptables (legacy)',
  nftables: 'nftables',
};

const SEEN: Readonly<Record<Seen, string>> = {
  container: "container's own",
  host: "host's",
  VTEP: "overlay device's",
  blocked: '**blocked**',
};

const HEAD = [
  '| Docker | its firewall | dockerd needs | `--ip-masq` | container → container | → another host | host → container | → outside | published port |',
  '|---|---|---|---|---|---|---|---|---|',
];

function dockerdNeeds({ firewall, knowsDockerd }: MatrixLine): string {
  if (firewall !== 'nftables') return 'nothing';
  return knowsDockerd ? 'two flags, which the agent writes' : 'two flags, which it lacks here';
}

function published({ publishedToHost, publishedToContainer, publishedToOutside }: Traffic): string {
  const all = [publishedToHost, publishedToContainer, publishedToOutside];
  return all.includes('blocked') ? SEEN.blocked : 'open';
}

/** The README's table; its cells tell whose address the receiver sees. */
export function dockerMatrixMarkdown(): string {
  const rows = MATRIX.map((line) => {
    const { toContainer, toRemoteHost, hostToContainer, toOutside } = line.traffic;
    const seen = [toContainer, toRemoteHost, hostToContainer, toOutside].map((whose) => SEEN[whose]);
    const what = [line.docker, FIREWALLS[line.firewall], dockerdNeeds(line), line.ipMasq ? 'on' : 'off'];
    return `| ${[...what, ...seen, published(line.traffic)].join(' | ')} |`;
  });
  return [...HEAD, ...rows].join('\n');
}

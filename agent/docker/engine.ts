/** What Docker runs on this host, and what it takes for packets of the network to pass its rules. Pure. */
import type { Mark } from '../../backends/firewall/wish.ts';
import type { Options } from '../../config/options.ts';

export type FirewallBackend = 'iptables' | 'nftables';

/** What is known, and where from, in words: a path, "the daemon". */
export interface Fact<T> {
  readonly value: T;
  readonly from: string;
}

/** A flag of dockerd as somebody other than tartan sets it: in daemon.json or on the command line. */
export type Setting = Fact<unknown> & { readonly isFlag: boolean };

export interface Engine {
  /** Something of Docker is here: its unit, program, configuration, a daemon that answers, or docker0. */
  readonly isFound: boolean;
  /** Of the daemon that runs and answered. */
  readonly pid: number | undefined;
  /** Path of the program. */
  readonly dockerd: Fact<string> | undefined;
  readonly version: string | undefined;
  readonly apiVersion: string | undefined;
  /** What the daemon uses that ran last; undefined where none has answered, or one before 28.1, which has iptables only. */
  readonly runningBackend: FirewallBackend | undefined;
  /** What its next start will use where somebody chose; undefined: nobody did, so Docker's own default. */
  readonly chosenBackend: Fact<FirewallBackend> | undefined;
  /** Flags that this dockerd knows; undefined: it is not known. */
  readonly knownFlags: Fact<ReadonlySet<string>> | undefined;
  /** By the flag's long name. What tartan's own options file sets is not among them. */
  readonly settings: ReadonlyMap<string, readonly Setting[]>;
  /** The unit that it starts by. */
  readonly unit: EngineUnit | undefined;
  readonly configFile: string;
  /** Path of the socket that it listens on. */
  readonly socket: string;
  /** What could not be read, and why. */
  readonly problems: readonly string[];
}

export interface EngineUnit {
  /** The file that has its ExecStart. */
  readonly path: string;
  readonly after: ReadonlySet<string>;
  /** undefined: what tartan's options file says is no part of its command. */
  readonly ownOptions: { readonly isOptional: boolean } | undefined;
}

/** As long as nothing is known. */
export const NO_ENGINE: Engine = {
  ...{ isFound: false, pid: undefined, dockerd: undefined, version: undefined, apiVersion: undefined },
  ...{ runningBackend: undefined, chosenBackend: undefined, knownFlags: undefined, settings: new Map() },
  ...{ unit: undefined, configFile: '', socket: '', problems: [] },
};

/** What is to be done for packets of the network to pass Docker's rules. */
export interface DockerNeeds {
  /** Accepts in DOCKER-USER and raw PREROUTING. */
  readonly deviceRules: boolean;
  /** To be set on such packets, for Docker's nftables backend; undefined: none. */
  readonly mark: Mark | undefined;
  /** For dockerd's command line, beside those of the subnet: only such that it certainly knows. */
  readonly extraFlags: readonly string[];
  /** What could not be made certain and is left to the operator. */
  readonly notes: readonly string[];
}

/** One bit that neither CNI's portmap, kube-proxy, Calico nor Tailscale uses. */
const OUR_MARK: Mark = { value: 0x1000, mask: 0x1000 };
const MARK_FLAG = 'bridge-accept-fwmark';
const ROUTING_FLAG = 'allow-direct-routing';

/** @param rules --docker-rules: `nftables` claims that backend, `iptables` the other one. */
export function dockerWays(engine: Engine, rules: Options['dockerRules']): DockerNeeds {
  if (rules === 'off') return { deviceRules: false, mark: undefined, extraFlags: [], notes: [] };
  const deviceRules = rules !== 'auto' || engine.isFound;
  const isNftables = rules === 'nftables' || (rules === 'auto' && usesNftables(engine));
  if (!isNftables) return { deviceRules, mark: undefined, extraFlags: [], notes: [] };
  const own = settingOf(engine, MARK_FLAG);
  const mark = own ? parseMark(String(own.value)) : OUR_MARK;
  const wanted = [
    ...(own ? [] : [{ name: MARK_FLAG, flag: `--${MARK_FLAG}=${formatMark(OUR_MARK)}` }]),
    ...(settingOf(engine, ROUTING_FLAG) ? [] : [{ name: ROUTING_FLAG, flag: `--${ROUTING_FLAG}` }]),
  ];
  const isKnown = wanted.every(({ name }) => engine.knownFlags?.value.has(name));
  const notes = isKnown
    ? []
    : [
        unknownFlags(
          engine,
          wanted.map(({ flag }) => flag),
        ),
      ];
  if (own && !mark) notes.push(`${own.from}: ${MARK_FLAG} is no mark: ${String(own.value)}`);
  return { deviceRules, mark, extraFlags: isKnown ? wanted.map(({ flag }) => flag) : [], notes };
}

/** Now, or from its next start on. */
export function usesNftables({ runningBackend, chosenBackend }: Engine): boolean {
  return (chosenBackend?.value ?? runningBackend) === 'nftables' || runningBackend === 'nftables';
}

function unknownFlags({ knownFlags, dockerd }: Engine, flags: readonly string[]): string {
  if (knownFlags)
    return `${knownFlags.from} does not know ${flags.join(' and ')}, so packets to containers are dropped`;
  const why = dockerd
    ? `${dockerd.value} does not tell its flags`
    : 'its program was not found: name it with --dockerd';
  return `Docker needs ${flags.join(' and ')}, which are not written since it is not certain that it knows them: ${why}`;
}

/** What counts where it is set more than once: the command line's. */
export function settingOf({ settings }: Engine, name: string): Setting | undefined {
  return settings.get(name)?.at(-1);
}

/** `0x1000/0x1000`, `84`; without a mask the whole mark. undefined where it is none. */
export function parseMark(text: string): Mark | undefined {
  const [value, mask] = text.split('/').map(parseNumber);
  if (value === undefined || !/^[^/]+(\/[^/]+)?$/.test(text)) return undefined;
  if (text.includes('/') && mask === undefined) return undefined;
  return { value, mask: mask ?? 0xff_ff_ff_ff };
}

/** As Go's ParseUint reads it with base 0: a leading 0 is octal. */
function parseNumber(text: string): number | undefined {
  const octal = /^0[0-7]+$/.test(text) ? `0o${text.slice(1)}` : text;
  const value = /^(0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0|[1-9]\d*)$/.test(octal) ? Number(octal) : Number.NaN;
  return value <= 0xff_ff_ff_ff ? value : undefined;
}

function formatMark({ value, mask }: Mark): string {
  return `0x${value.toString(16)}/0x${mask.toString(16)}`;
}

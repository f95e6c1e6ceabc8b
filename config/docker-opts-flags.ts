/** The flags of `tartan docker opts`: those of flannel's mk-docker-opts.sh, read as its getopts does, and --format. */
import { parseArgs } from 'node:util';

export interface DockerOptsFlags {
  /** subnet.env; a missing one is no error. */
  readonly flannelFile: string;
  /** `-`: standard output. */
  readonly dockerFile: string;
  readonly individual: boolean;
  readonly combined: boolean;
  /** Name of the combined variable. */
  readonly key: string;
  /** Whether --ip-masq is among the options. */
  readonly ipMasq: boolean;
  readonly format: (typeof FORMATS)[number];
}

const FORMATS = ['env', 'daemon.json'] as const;

export const DOCKER_OPTS_FLAGS = {
  f: { metavar: 'FILE', default: '/run/flannel/subnet.env', doc: "File with this host's subnet and MTU." },
  d: { metavar: 'FILE', default: '/run/docker_opts.env', doc: 'File to write; -: standard output.' },
  i: { metavar: '', default: '', doc: 'Write each option as a variable of its own, DOCKER_OPT_BIP and so on.' },
  c: { metavar: '', default: '', doc: 'Write all options as one variable. With neither -i nor -c: both.' },
  k: { metavar: 'NAME', default: 'DOCKER_OPTS', doc: 'Name of that one variable.' },
  m: { metavar: '', default: '', doc: 'Leave out --ip-masq.' },
  format: {
    metavar: 'env|daemon.json',
    default: 'env',
    doc: "What to write: variables, or these keys into Docker's daemon.json, which keeps all others (-d: /etc/docker/daemon.json where it is not given).",
  },
} as const;

/** Where Docker looks without --config-file. */
export const DAEMON_JSON = '/etc/docker/daemon.json';

type DockerOptsLetter = keyof typeof DOCKER_OPTS_FLAGS;

type DockerOptsFlagsResult =
  | { readonly ok: true; readonly flags: DockerOptsFlags; readonly wantsHelp: boolean }
  | { readonly ok: false; readonly problems: readonly string[] };

function isLetter(name: string): name is DockerOptsLetter {
  return Object.hasOwn(DOCKER_OPTS_FLAGS, name);
}

/** Letters may be joined and a value may follow its letter directly: `-ic -f/run/x`. */
export function parseDockerOptsFlags(argv: readonly string[]): DockerOptsFlagsResult {
  const given = new Map<DockerOptsLetter, string>();
  const problems: string[] = [];
  let wantsHelp = argv.some((argument) => argument === '-help');
  for (const token of tokensOf(argv)) {
    if (token.kind === 'positional') problems.push(`unexpected argument "${token.value}"`);
    if (token.kind !== 'option') continue;
    if (['h', '?', 'help'].includes(token.name)) wantsHelp = true;
    else if (!isLetter(token.name)) problems.push(`${token.rawName}: no such flag of docker opts`);
    else if (DOCKER_OPTS_FLAGS[token.name].metavar !== '' && token.value === undefined) {
      problems.push(`${token.rawName}: needs a value`);
    } else given.set(token.name, token.value ?? '');
  }
  const flags = flagsFrom(given);
  problems.push(...formatProblems(given));
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(flags.key)) problems.push(`-k: "${flags.key}" is no name of a variable`);
  return problems.length === 0 || wantsHelp ? { ok: true, flags, wantsHelp } : { ok: false, problems };
}

function tokensOf(argv: readonly string[]) {
  const options = Object.fromEntries(
    Object.entries(DOCKER_OPTS_FLAGS).map(([letter, { metavar }]) => {
      const type = metavar === '' ? ('boolean' as const) : ('string' as const);
      return [letter, letter.length === 1 ? { type, short: letter } : { type }];
    }),
  );
  return parseArgs({ args: [...argv], options, strict: false, tokens: true, allowPositionals: true }).tokens;
}

function flagsFrom(given: ReadonlyMap<DockerOptsLetter, string>): DockerOptsFlags {
  const neither = !given.has('i') && !given.has('c');
  const format = given.get('format') === 'daemon.json' ? 'daemon.json' : 'env';
  return {
    flannelFile: given.get('f') ?? DOCKER_OPTS_FLAGS.f.default,
    dockerFile: given.get('d') ?? (format === 'env' ? DOCKER_OPTS_FLAGS.d.default : DAEMON_JSON),
    individual: neither || given.has('i'),
    combined: neither || given.has('c'),
    key: given.get('k') ?? DOCKER_OPTS_FLAGS.k.default,
    ipMasq: !given.has('m'),
    format,
  };
}

function formatProblems(given: ReadonlyMap<DockerOptsLetter, string>): string[] {
  const format = given.get('format') ?? 'env';
  if (!FORMATS.some((one) => one === format)) return [`--format: "${format}" is none of ${FORMATS.join(', ')}`];
  if (format === 'env') return [];
  const names = (['i', 'c', 'k'] as const).filter((letter) => given.has(letter));
  return names.map((letter) => `-${letter}: there are no variables with --format ${format}`);
}

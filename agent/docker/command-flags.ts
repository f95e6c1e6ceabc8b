/** dockerd's command line, as far as one can read it without knowing each of its flags. Pure. */

/** `-b`: what stands for a long one among those that matter here. */
const SHORT: ReadonlyMap<string, string> = new Map([
  ['H', 'host'],
  ['b', 'bridge'],
  ['s', 'storage-driver'],
  ['l', 'log-level'],
  ['G', 'group'],
  ['p', 'pidfile'],
]);

/** Of those that matter here the ones that take no value as the next word. */
const SWITCHES = new Set([
  'allow-direct-routing',
  'icc',
  'ip-forward',
  'ip-forward-no-drop',
  'ip-masq',
  'ip6tables',
  'iptables',
  'ipv6',
  'live-restore',
  'rootless',
  'userland-proxy',
]);

/**
 * Values by the flag's long name, each in its order; a switch without a value is `true`. Of a flag that is not known
 * here nobody can say whether the next word is its value: it counts as one where it does not look like a flag.
 */
export function commandFlags(words: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const flags = new Map<string, string[]>();
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    const flag = flagIn(word);
    if (!flag) continue;
    const { name } = flag;
    const takesNext = flag.value === undefined && !SWITCHES.has(name) && rest[0]?.startsWith('-') === false;
    const value = flag.value ?? (takesNext ? rest.shift() : undefined) ?? 'true';
    flags.set(name, [...(flags.get(name) ?? []), value]);
  }
  return flags;
}

/** `--mtu=1450`, `--mtu`, `-H fd://`, `-Hfd://`. */
function flagIn(word: string): { readonly name: string; readonly value: string | undefined } | undefined {
  const long = /^--([a-z0-9][\w-]*)(?:=(.*))?$/s.exec(word);
  if (long) return { name: long[1] ?? '', value: long[2] };
  const short = /^-([A-Za-z])=?(.+)?$/s.exec(word);
  const name = short && SHORT.get(short[1] ?? '');
  return name ? { name, value: short[2] } : undefined;
}

/** What counts where it is given more than once. */
export function lastOf(flags: ReadonlyMap<string, readonly string[]>, name: string): string | undefined {
  return flags.get(name)?.at(-1);
}

/** The flags that `dockerd --help` lists; undefined where the text is no such list. */
export function flagsInHelp(text: string): ReadonlySet<string> | undefined {
  const names = new Set([...text.matchAll(/^ {2,6}(?:-\w, )?--([a-z][a-z0-9-]*)/gm)].map(([, name]) => name ?? ''));
  return names.has('bip') && names.has('config-file') ? names : undefined;
}

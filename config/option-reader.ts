/** From what was given to values: flag before environment before default, every problem kept. */
import type { Command } from './commands.ts';
import { type Environment, findVariable } from './environment.ts';
import type { Origin } from './invocation.ts';
import {
  flagName,
  isTakenBy,
  OPTION_KEYS,
  OPTIONS,
  type OptionDraft,
  type OptionKey,
  type Options,
} from './options.ts';

/** Texts per option, in the order in which the flags stood. */
export type GivenFlags = ReadonlyMap<OptionKey, readonly string[]>;

interface Source {
  readonly origin: Origin;
  readonly texts: readonly string[];
  /** `--etcd-prefix`, or `--etcd-prefix (FLANNELD_ETCD_PREFIX)`. */
  readonly label: string;
}

export class OptionReader {
  readonly problems: string[] = [];
  readonly warnings: string[] = [];
  readonly origins: Record<string, Origin> = {};
  readonly #draft: OptionDraft = {};

  /** Reads all options that the command takes; the others get their defaults. */
  read(command: Command, flags: GivenFlags, env: Environment): Options {
    for (const key of OPTION_KEYS) {
      this.#readOne(key, isTakenBy(key, command) ? sourceOf(key, flags, env) : undefined);
    }
    for (const key of OPTION_KEYS) this.#settle(key);
    this.#checkTogether();
    if (!isComplete(this.#draft)) throw new TypeError('an option has no value');
    return this.#draft;
  }

  #readOne<K extends OptionKey>(key: K, source: Source | undefined): void {
    const option = OPTIONS[key];
    this.origins[key] = source?.origin ?? 'default';
    assign(this.#draft, key, option.default);
    if (source === undefined) return;
    const parsed = option.kind.parse(source.texts);
    if (!parsed.ok) {
      this.problems.push(...parsed.problems.map((problem) => `${source.label}: ${problem}`));
      return;
    }
    this.warnings.push(...(parsed.warnings ?? []).map((warning) => `${source.label}: ${warning}`));
    const judgement = option.judge?.(parsed.value);
    if (judgement !== undefined && 'refused' in judgement) this.problems.push(`${source.label}: ${judgement.refused}`);
    else if (judgement !== undefined) this.warnings.push(`${source.label}: ${judgement.warning}`);
    assign(this.#draft, key, parsed.value);
  }

  #settle<K extends OptionKey>(key: K): void {
    const { settle } = OPTIONS[key];
    const value: OptionDraft[K] = this.#draft[key];
    if (settle !== undefined && value !== undefined) assign(this.#draft, key, settle(value, this.#draft));
  }

  #checkTogether(): void {
    const { etcdEndpoints = [], etcdKeyfile, etcdCertfile, etcdCafile, etcdUsername, etcdPassword } = this.#draft;
    const isTls = etcdEndpoints.some((url) => url.startsWith('https:'));
    if (isTls && etcdKeyfile && !etcdCertfile) this.problems.push('--etcd-keyfile: needs --etcd-certfile beside it');
    if (isTls && etcdCertfile && !etcdKeyfile) this.problems.push('--etcd-certfile: needs --etcd-keyfile beside it');
    for (const [key, file] of Object.entries({ etcdKeyfile, etcdCertfile, etcdCafile })) {
      if (!isTls && file)
        this.warnings.push(`--${key.replace('etcd', 'etcd-').toLowerCase()}: has no effect; no endpoint is https://`);
    }
    if (etcdUsername && !etcdPassword) this.warnings.push('--etcd-username: has no effect without --etcd-password');
    if (etcdPassword && !etcdUsername) this.warnings.push('--etcd-password: has no effect without --etcd-username');
  }
}

function assign<K extends OptionKey>(draft: OptionDraft, key: K, value: Options[K]): void {
  draft[key] = value;
}

function isComplete(draft: OptionDraft): draft is OptionDraft & Options {
  return OPTION_KEYS.every((key) => Object.hasOwn(draft, key));
}

function sourceOf(key: OptionKey, flags: GivenFlags, env: Environment): Source | undefined {
  const label = `--${flagName(key)}`;
  const texts = flags.get(key);
  if (texts !== undefined) return { origin: 'flag', texts, label };
  const found = findVariable(key, env);
  return found && { origin: 'environment', texts: [found.value], label: `${label} (${found.variable})` };
}

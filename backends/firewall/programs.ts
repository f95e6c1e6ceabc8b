/** The programs of the host that tartan runs: nft, iptables and its kin, and dockerd to ask it which flags it knows. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { toError } from '../../config/errors.ts';

const TIME_LIMIT_MS = 10_000;
/** A host with some ten thousand services lists about 10 MB. */
const OUTPUT_LIMIT_BYTES = 64 << 20;
/** What nsenter, env and shells end with where there is no such program. */
const NOT_FOUND = 127;
/** An operator's PATH may lack them, and all that is run here lies there. */
const SBIN = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

export interface Outcome {
  /** It ended by itself, with status 0. */
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
  /** In words, why not ok: what it said, else how it ended. Empty where it is ok. */
  readonly failure: string;
}

export interface RunOptions {
  /** Its standard input; nothing where left out. */
  readonly input?: string;
  /** Ends it; `run` then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Default 10 s. */
  readonly timeLimitMs?: number;
}

export interface Programs {
  /** Runs it to its end, without a shell. @returns undefined where there is no such program */
  run(program: string, args: readonly string[], options?: RunOptions): Promise<Outcome | undefined>;
}

export class HostPrograms implements Programs {
  readonly #enter: readonly string[];

  /** `enter`: what is put before every command, such as `nsenter -t 17 -n --`. */
  constructor(enter: readonly string[] = []) {
    this.#enter = enter;
  }

  run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome | undefined> {
    const [command = program, ...rest] = [...this.#enter, program, ...args];
    if (options.signal?.aborted) return Promise.reject(toError(options.signal.reason));
    const env = { ...process.env, LC_ALL: 'C', PATH: searchPath(process.env['PATH']) };
    return new Promise((resolve, reject) => {
      const child = spawn(command, rest, { env, stdio: 'pipe' });
      new Run(child, program, options, resolve, reject).start();
    });
  }
}

/** npm puts its packages' programs before the host's, and one of them is called nft. */
function searchPath(path = '/usr/bin:/bin'): string {
  const folders = path.split(':').filter((folder) => !folder.endsWith('/node_modules/.bin'));
  return [...folders, ...SBIN].join(':');
}

/** One process, until it has ended or must be ended. */
class Run {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #program: string;
  readonly #options: RunOptions;
  readonly #resolve: (outcome: Outcome | undefined) => void;
  readonly #reject: (error: Error) => void;
  readonly #output = { stdout: '', stderr: '' };
  #timer: NodeJS.Timeout | undefined;
  #ended: string | undefined;

  constructor(
    child: ChildProcessWithoutNullStreams,
    program: string,
    options: RunOptions,
    resolve: (outcome: Outcome | undefined) => void,
    reject: (error: Error) => void,
  ) {
    this.#child = child;
    this.#program = program;
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const { timeLimitMs = TIME_LIMIT_MS, signal, input = '' } = this.#options;
    for (const stream of ['stdout', 'stderr'] as const) {
      this.#child[stream].setEncoding('utf8').on('data', (text: string) => this.#hear(stream, text));
    }
    this.#child.once('error', (error: NodeJS.ErrnoException) => this.#settle(error));
    this.#child.once('close', (status, by) => this.#settle(undefined, status, by));
    this.#timer = setTimeout(() => this.#end(`took longer than ${timeLimitMs / 1000} s`), timeLimitMs);
    signal?.addEventListener('abort', this.#abort, { once: true });
    // It may end before it has read all: what it then says is the failure, not this.
    this.#child.stdin.on('error', () => undefined);
    this.#child.stdin.end(input);
  }

  readonly #abort = (): void => this.#end('aborted');

  #hear(stream: 'stdout' | 'stderr', text: string): void {
    this.#output[stream] += text;
    if (this.#output[stream].length > OUTPUT_LIMIT_BYTES) this.#end('said too much');
  }

  #end(why: string): void {
    this.#ended ??= why;
    this.#child.kill('SIGKILL');
  }

  #settle(error: NodeJS.ErrnoException | undefined, status?: number | null, by?: NodeJS.Signals | null): void {
    clearTimeout(this.#timer);
    const { signal } = this.#options;
    signal?.removeEventListener('abort', this.#abort);
    if (signal?.aborted) this.#reject(toError(signal.reason));
    else if (error?.code === 'ENOENT' || status === NOT_FOUND) this.#resolve(undefined);
    else this.#resolve(this.#outcome(error?.message ?? this.#ended ?? (by ? `ended by ${by}` : undefined), status));
  }

  #outcome(broken: string | undefined, status: number | null | undefined): Outcome {
    const { stdout, stderr } = this.#output;
    if (broken === undefined && status === 0) return { ok: true, stdout, stderr, failure: '' };
    const said = stderr.trim() || stdout.trim().slice(-500);
    const why = broken ?? (said === '' ? `ended with status ${status}` : said);
    return { ok: false, stdout, stderr, failure: why.startsWith(this.#program) ? why : `${this.#program}: ${why}` };
  }
}

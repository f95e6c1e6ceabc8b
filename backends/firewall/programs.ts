/** The programs of the host that tartan runs: nft, iptables and its kin, and dockerd to ask it which flags it knows. */
import { type ExecFileException, execFile } from 'node:child_process';
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
    const { signal, timeLimitMs = TIME_LIMIT_MS, input = '' } = options;
    if (signal?.aborted) return Promise.reject(toError(signal.reason));
    const env = { ...process.env, LC_ALL: 'C', PATH: searchPath(process.env['PATH']) };
    const limits = { timeout: timeLimitMs, maxBuffer: OUTPUT_LIMIT_BYTES, killSignal: 'SIGKILL', signal } as const;
    return new Promise((resolve, reject) => {
      const child = execFile(command, rest, { ...limits, env }, (error, stdout, stderr) => {
        if (signal?.aborted) reject(toError(signal.reason));
        else if (error === null) resolve({ ok: true, stdout, failure: '' });
        else if (error.code === 'ENOENT' || error.code === NOT_FOUND) resolve(undefined);
        else {
          const why = whyEnded(error, timeLimitMs) ?? (stderr.trim() || stdout.trim().slice(-500));
          resolve({ ok: false, stdout, failure: saidBy(program, why || `ended with status ${error.code}`) });
        }
      });
      // It may end before it has read all: what it then says is the failure, not this.
      child.stdin?.on('error', () => undefined).end(input);
    });
  }
}

/** npm puts its packages' programs before the host's, and one of them is called nft. */
function searchPath(path = '/usr/bin:/bin'): string {
  const folders = path.split(':').filter((folder) => !folder.endsWith('/node_modules/.bin'));
  return [...folders, ...SBIN].join(':');
}

/** What ended it from outside; undefined where it ended by itself. */
function whyEnded({ code, killed, signal, message }: ExecFileException, timeLimitMs: number): string | undefined {
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return 'said too much';
  if (killed) return `took longer than ${timeLimitMs / 1000} s`;
  if (signal) return `ended by ${signal}`;
  return typeof code === 'number' ? undefined : message;
}

function saidBy(program: string, why: string): string {
  return why.startsWith(program) ? why : `${program}: ${why}`;
}

/** Child processes of a lab: run to the end, or started and watched. None outlives the process that started it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface Outcome {
  /** Exit status; null where a signal ended it. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ExecOptions {
  readonly input?: string;
  /** Added to the lab's own small environment; the caller's environment is not passed on. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default 30 s; then the command is killed. */
  readonly timeoutMs?: number;
  readonly cwd?: string;
}

export type Argv = readonly [string, ...string[]];

const SBIN = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/**
 * A login shell without root's PATH lacks sbin, where `ip` and `bridge` are. And what npm puts before all else is left out:
 * one of the packages there has a program `nft` that is no nft, and a flanneld would run it.
 */
export function searchPath(): string {
  const path = (process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin').split(':');
  const own = path.filter((dir) => !dir.endsWith('/node_modules/.bin'));
  return [...own, ...SBIN.filter((dir) => !own.includes(dir))].join(':');
}

/** Only these pass: what an operator has in ETCDCTL_*, FLANNELD_* or NOTIFY_SOCKET must not reach a test. */
function environment(extra: Readonly<Record<string, string>>): Record<string, string> {
  const env: Record<string, string> = { PATH: searchPath(), LC_ALL: 'C.UTF-8', HOME: process.env['HOME'] ?? '/root' };
  const coverage = process.env['NODE_V8_COVERAGE'];
  if (coverage !== undefined) env['NODE_V8_COVERAGE'] = coverage;
  return { ...env, ...extra };
}

/** The kernel kills the command when this process ends, however it ends. */
function tethered(argv: Argv): Argv {
  return ['setpriv', '--pdeathsig', 'KILL', '--', ...argv];
}

function launch(argv: Argv, options: ExecOptions): ChildProcess {
  const [command, ...args] = tethered(argv);
  return spawn(command, args, {
    env: environment(options.env ?? {}),
    cwd: options.cwd ?? '/',
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
}

/** Runs to the end and never rejects for what the command does, only where it can't be started at all. */
export function execute(argv: Argv, options: ExecOptions = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = launch(argv, options);
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 30_000);
    child.once('error', reject);
    child.once('close', (status, signal) => {
      clearTimeout(timer);
      resolve({ status, signal, stdout, stderr });
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input);
  });
}

/** As `execute`, for what must succeed. @returns stdout */
export async function mustExecute(argv: Argv, options: ExecOptions = {}): Promise<string> {
  const { status, signal, stdout, stderr } = await execute(argv, options);
  if (status === 0) return stdout;
  throw new Error(`${argv.join(' ')}\nended with ${signal ?? status}\n${stderr}${stdout}`);
}

export interface Exit {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running command whose output is kept. Its pid is the command's own: nothing stands between. */
export class LabProcess {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #watchers = new Set<() => void>();
  readonly #listeners = new Set<(line: string) => void>();
  #exit: Exit | undefined;

  constructor(name: string, argv: Argv, options: ExecOptions = {}) {
    this.name = name;
    this.#child = launch(argv, options);
    this.pid = this.#child.pid ?? -1;
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.#add(line));
    }
    this.exited = new Promise((resolve) => {
      this.#child.once('error', (error) => this.#add(`could not be started: ${error.message}`));
      this.#child.once('close', (status, signal) => {
        this.#exit = { status, signal };
        resolve(this.#exit);
        this.#wake();
      });
    });
    if (options.input !== undefined) this.#child.stdin?.end(options.input);
  }

  /** stdout and stderr in order of arrival. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  get running(): boolean {
    return this.#exit === undefined;
  }

  /** Hears every line from now on, as it comes. */
  onLine(listener: (line: string) => void): void {
    this.#listeners.add(listener);
  }

  /** The first line, seen already or still to come, that matches; rejects at the deadline or when the process ends. */
  until(wanted: RegExp | ((line: string) => boolean), timeoutMs = 20_000): Promise<string> {
    const matches = typeof wanted === 'function' ? wanted : (line: string) => wanted.test(line);
    return new Promise((resolve, reject) => {
      let seen = 0;
      const finish = (act: () => void) => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        act();
      };
      const fail = (why: string) => finish(() => reject(new Error(`${why}: ${wanted}\n${this.tail()}`)));
      const look = () => {
        for (const line of this.#lines.slice(seen)) if (matches(line)) return finish(() => resolve(line));
        seen = this.#lines.length;
        if (!this.running) fail('ended before it said');
      };
      const timer = setTimeout(() => fail(`did not say within ${timeoutMs / 1000} s`), timeoutMs);
      this.#watchers.add(look);
      look();
    });
  }

  /** The last lines, headed by who wrote them. */
  tail(count = 12): string {
    const state = this.#exit === undefined ? `pid ${this.pid}` : `ended with ${this.#exit.signal ?? this.#exit.status}`;
    return [`--- ${this.name} (${state}), last lines:`, ...this.#lines.slice(-count)].join('\n');
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Signals it and waits for its end; SIGKILL after `graceMs`. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 10_000): Promise<Exit> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), graceMs);
    this.#child.kill(signal);
    const exit = await this.exited;
    clearTimeout(timer);
    return exit;
  }

  /** kill -9, and waits until it is gone. */
  kill(): Promise<Exit> {
    return this.stop('SIGKILL');
  }

  #add(line: string): void {
    this.#lines.push(line);
    for (const listener of this.#listeners) listener(line);
    this.#wake();
  }

  #wake(): void {
    for (const look of [...this.#watchers]) look();
  }
}

/**
 * Two network namespaces on one cable: this process's own (`enterFreshNamespace`), and another one that is held open by
 * a sleeping child.
 *
 *     near eth0 192.0.2.1/24 fd00::1/64 ──── eth0 192.0.2.2/24 fd00::2/64 far
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { eventually } from './eventually.ts';
import { run } from './netns.ts';
import { execute, searchPath } from './process.ts';

const CLONE_NEWNET = 0x40000000;

export class FarSide {
  readonly #pid: number;
  readonly #setns: (fd: number, kind: number) => number;

  private constructor(pid: number) {
    this.#pid = pid;
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    this.#setns = koffi.load(null).func('int setns(int fd, int kind)');
  }

  /** To be called in a namespace that is this process's own. */
  static async connect(): Promise<FarSide> {
    const argv = ['--pdeathsig', 'KILL', '--', 'unshare', '--net', '--', 'sleep', 'infinity'];
    const holder = spawn('setpriv', argv, { env: { PATH: searchPath() }, stdio: 'ignore' });
    process.once('exit', () => holder.kill('SIGKILL'));
    holder.unref();
    const far = new FarSide(holder.pid ?? 0);
    await eventually(
      'a namespace of its own',
      () => run(`readlink /proc/${far.#pid}/ns/net`) !== run('readlink /proc/self/ns/net'),
    );
    run(`ip link add eth0 type veth peer name eth0 netns ${far.#pid}`);
    for (const [side, number] of [
      ['', 1],
      [far.enter, 2],
    ] as const) {
      run(`${side} ip link set lo up && ${side} ip link set eth0 up`);
      run(`${side} ip addr add 192.0.2.${number}/24 dev eth0 && ${side} ip addr add fd00::${number}/64 dev eth0 nodad`);
    }
    return far;
  }

  /** What to put before a command. */
  get enter(): string {
    return `nsenter -t ${this.#pid} -n`;
  }

  run(command: string): string {
    return run(`${this.enter} sh -c '${command}'`);
  }

  /** Runs in the background. @returns what it prints, as soon as it has ended; rejects unless with status 0 */
  async exec(command: string, args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await execute(['nsenter', '-t', String(this.#pid), '-n', command, ...args], {
      timeoutMs: 60_000,
    });
    if (status === 0) return stdout;
    throw new Error(`${command}: ${status}\n${stderr}${stdout}`);
  }

  /** Sockets and devices that `work` opens are over there. It must not wait. */
  inside<T>(work: () => T): T {
    const here = openSync('/proc/thread-self/ns/net', 'r');
    const there = openSync(`/proc/${this.#pid}/ns/net`, 'r');
    try {
      if (this.#setns(there, CLONE_NEWNET) !== 0) throw new Error('setns refused');
      return work();
    } finally {
      this.#setns(here, CLONE_NEWNET);
      closeSync(here);
      closeSync(there);
    }
  }
}

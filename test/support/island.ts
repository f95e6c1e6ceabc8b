import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { promisify } from 'node:util';

/** A network namespace behind a veth pair, whose packets can be dropped without anybody being told. */
export class Island {
  readonly name: string;
  readonly address: string;
  readonly #link: string;
  readonly #near: string;

  constructor(number: number) {
    this.name = `tk-island-${number}`;
    this.#link = `tkisl${number}`;
    const base = number * 4;
    const prefix = `198.18.${base >> 8}`;
    this.#near = `${prefix}.${(base & 255) + 1}`;
    this.address = `${prefix}.${(base & 255) + 2}`;
  }

  async build(): Promise<void> {
    await run('ip', 'netns', 'add', this.name);
    await run('ip', 'link', 'add', this.#link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', this.name);
    await run('ip', 'addr', 'add', `${this.#near}/30`, 'dev', this.#link);
    await run('ip', 'link', 'set', this.#link, 'up');
    await this.#inside('ip', 'link', 'set', 'lo', 'up');
    await this.#inside('ip', 'addr', 'add', `${this.address}/30`, 'dev', 'eth0');
    await this.#inside('ip', 'link', 'set', 'eth0', 'up');
  }

  async blackHole(): Promise<void> {
    await this.#inside('iptables', '-I', 'INPUT', '-i', 'eth0', '-j', 'DROP');
  }

  async heal(): Promise<void> {
    await this.#inside('iptables', '-D', 'INPUT', '-i', 'eth0', '-j', 'DROP');
  }

  async remove(): Promise<void> {
    await run('ip', 'netns', 'del', this.name);
  }

  async #inside(...command: readonly string[]): Promise<void> {
    await run('ip', 'netns', 'exec', this.name, ...command);
  }
}

async function run(program: string, ...args: readonly string[]): Promise<void> {
  await promisify(execFile)(program, args);
}

/** An island of its own, gone when the test ends. Needs root. */
export async function makeIsland(owner: { teardown(work: () => Promise<void>): void }): Promise<Island> {
  const island = new Island(randomInt(1, 16_384));
  await island.build();
  owner.teardown(() => island.remove());
  return island;
}

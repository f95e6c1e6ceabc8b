import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { inRepository } from './repository.ts';

/** What a command answered. */
export interface Answer {
  readonly status: number | null;
  readonly output: string;
}

const UNITS = ['/usr/lib/systemd/system', '/lib/systemd/system'];

/** What is missing to check units: the command, and the distribution's units that ours lean on. */
export function systemdLack(): string | undefined {
  const complete = UNITS.some((path) => existsSync(path)) && spawnSync('systemd-analyze', ['--version']).status === 0;
  return complete ? undefined : 'systemd-analyze and the units of systemd (Debian: systemd)';
}

/** A file system tree with the distribution's units, in which units and stub programs can be put and verified. */
export class SystemdRoot {
  readonly #path = mkdtempSync(join(tmpdir(), 'tartan-systemd-'));

  constructor() {
    const units = UNITS.find((path) => existsSync(path));
    if (units === undefined) throw new Error('no systemd units on this machine');
    cpSync(units, join(this.#path, 'usr/lib/systemd/system'), { recursive: true, verbatimSymlinks: true });
  }

  /** Installs a file of the repository at `target`, an absolute path in the tree. */
  install(source: string, target: string): void {
    cpSync(inRepository(source), this.#prepare(target));
  }

  write(target: string, text: string): void {
    writeFileSync(this.#prepare(target), text);
  }

  /** An executable that does nothing: verify wants to see it, not to run it. */
  stub(target: string): void {
    this.write(target, '#!/bin/sh\n');
    chmodSync(this.#prepare(target), 0o755);
  }

  /** `systemd-analyze verify`: warnings leave its status at 0, so what it prints counts too. */
  verify(unit: string): Answer {
    const { status, stdout, stderr } = spawnSync(
      'systemd-analyze',
      ['verify', '--man=no', `--root=${this.#path}`, unit],
      { encoding: 'utf8' },
    );
    return { status, output: stdout + stderr };
  }

  remove(): void {
    rmSync(this.#path, { recursive: true, force: true });
  }

  #prepare(target: string): string {
    const path = join(this.#path, target);
    mkdirSync(dirname(path), { recursive: true });
    return path;
  }
}

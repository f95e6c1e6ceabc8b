/** Images made without a registry, of what this machine has: a directory that becomes a tar, as `docker import` takes it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findCommand } from './commands.ts';

const DIRECTORIES = ['dev', 'etc', 'proc', 'root', 'run', 'sys', 'tmp', 'var'];

export class Image {
  readonly #dir = mkdtempSync(join(tmpdir(), 'tartan-image-'));

  private constructor() {
    for (const name of DIRECTORIES) mkdirSync(join(this.#dir, name));
  }

  /** @returns the tar of what `fill` puts into it */
  static make(fill: (image: Image) => void): Buffer {
    const image = new Image();
    try {
      fill(image);
      return execFileSync('tar', ['-C', image.#dir, '-c', '.'], { maxBuffer: 1 << 30 });
    } finally {
      rmSync(image.#dir, { recursive: true, force: true });
    }
  }

  write(path: string, text: string, mode: number): void {
    writeFileSync(this.#prepare(path), text, { mode });
  }

  link(target: string, path: string): void {
    symlinkSync(target, this.#prepare(path));
  }

  /** A file, or a directory with all that is in it. */
  copy(source: string, path = source): void {
    cpSync(source, this.#prepare(path), { recursive: true, dereference: true });
  }

  /** A command of this machine as /bin/NAME, with the libraries that it is linked to. */
  program(name: string, found = findCommand(name)): void {
    if (found === undefined) throw new Error(`${name} is missing`);
    this.copy(found, `/bin/${name}`);
    // A static one has none.
    const { stdout } = spawnSync('ldd', [found], { encoding: 'utf8' });
    for (const [library] of stdout.matchAll(/\/\S+(?= \(0x)/g)) this.copy(library);
  }

  /** busybox, and these names for it. */
  busybox(...applets: readonly string[]): void {
    this.program('busybox');
    for (const applet of applets) this.link('busybox', `/bin/${applet}`);
  }

  #prepare(path: string): string {
    const target = join(this.#dir, path);
    mkdirSync(dirname(target), { recursive: true });
    return target;
  }
}

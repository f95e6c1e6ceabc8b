/**
 * The newest long-term Node, kept outside the repository by version: hosts have it, while the tests run on the oldest
 * that is supported. It comes as an npm package that is nothing but the binary.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { canExecute } from './commands.ts';

const VERSION = '24.21.0';
const NAME = `node-linux-${process.arch}`;

export type NewestNode = { readonly ok: true; readonly path: string } | { readonly ok: false; readonly reason: string };

function cacheDir(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tartan', `node-${VERSION}`);
}

/** Finds it or, under CI, installs it: a download of about a hundred megabytes. */
export function newestNode(): NewestNode {
  const path = join(cacheDir(), 'node_modules', NAME, 'bin', 'node');
  if (canExecute(path)) return { ok: true, path };
  const reason = `Node ${VERSION}, which \`npm test -- --all\` installs`;
  return process.env['CI'] === 'true' ? install(path) : { ok: false, reason };
}

function install(path: string): NewestNode {
  const scratch = `${cacheDir()}.${process.pid}`;
  mkdirSync(scratch, { recursive: true });
  const args = ['install', '--prefix', scratch, '--no-save', '--ignore-scripts', `${NAME}@${VERSION}`];
  const { status, stderr } = spawnSync('npm', args, { cwd: scratch, encoding: 'utf8' });
  if (status === 0) {
    rmSync(cacheDir(), { recursive: true, force: true });
    renameSync(scratch, cacheDir());
  } else rmSync(scratch, { recursive: true, force: true });
  return canExecute(path)
    ? { ok: true, path }
    : { ok: false, reason: `npm could not install ${NAME}@${VERSION}: ${stderr}` };
}

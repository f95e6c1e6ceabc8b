/**
 * A real flanneld for the interop tests: the one named by FLANNELD, else the one that `go install` made, kept outside
 * the repository by version. Later versions can't be had that way: their module has replace directives.
 */
import { spawn } from 'node:child_process';
import { mkdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { canExecute, findCommand } from './commands.ts';

const VERSION = 'v0.26.7';
const MODULE = `github.com/flannel-io/flannel@${VERSION}`;

export type Flanneld = { readonly path: string } | { readonly reason: string };

function cacheDir(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tartan', `flanneld-${VERSION}`);
}

/** Looks, builds nothing. */
export function findFlanneld(): Flanneld {
  const named = process.env['FLANNELD'];
  if (named !== undefined && named !== '') {
    return canExecute(named) ? { path: named } : { reason: `FLANNELD=${named} is no program` };
  }
  const cached = join(cacheDir(), 'flannel');
  if (canExecute(cached)) return { path: cached };
  return { reason: 'FLANNELD=PATH, or `npm test -- --all`, which builds it with Go' };
}

function goInstall(go: string, into: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const env = { ...process.env, CGO_ENABLED: '1', GOBIN: into };
    const child = spawn(go, ['install', MODULE], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2000);
    });
    child.once('error', (error) => resolve(error.message));
    child.once('close', (status) => resolve(status === 0 ? undefined : `go install ${MODULE} failed:\n${said}`));
  });
}

/** Finds it or builds it: minutes of work the first time. Never rejects. */
export async function obtainFlanneld(): Promise<Flanneld> {
  const found = findFlanneld();
  if ('path' in found || process.env['FLANNELD'] !== undefined) return found;
  const go = findCommand('go');
  if (go === undefined) return { reason: 'Go (1.23 or newer) to build it, or FLANNELD=PATH' };
  const target = cacheDir();
  const scratch = `${target}.${process.pid}`;
  await mkdir(dirname(target), { recursive: true });
  try {
    const failure = await goInstall(go, scratch);
    if (failure !== undefined) return { reason: failure };
    await rm(target, { recursive: true, force: true });
    await rename(scratch, target);
    return findFlanneld();
  } catch (fault: unknown) {
    return { reason: String(fault) };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

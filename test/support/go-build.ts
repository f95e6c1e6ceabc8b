/**
 * Programs that only their source can be had of: built by `go install` and kept outside the repository, by version. A
 * build takes minutes the first time; it is nice to whatever else runs.
 */
import { spawn } from 'node:child_process';
import { mkdir, rename, rm } from 'node:fs/promises';
import { homedir, setPriority } from 'node:os';
import { dirname, join } from 'node:path';
import { canExecute, findCommand } from './commands.ts';

export interface GoPackage {
  /** `example.com/module/cmd/program@v1.2.3` */
  readonly package: string;
  readonly tags?: string;
}

export interface GoBuild {
  /** Directory below the cache, with the version in it: `flanneld-v0.26.7`. */
  readonly name: string;
  readonly packages: readonly GoPackage[];
  /** What must be there afterwards. */
  readonly programs: readonly string[];
  /** What to do about it where Go is absent, in words. */
  readonly needs: string;
}

/** The directory with the programs, or why there is none. */
export type Built = { readonly dir: string } | { readonly reason: string };

function cacheDir({ name }: GoBuild): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tartan', name);
}

/** Looks, builds nothing. */
export function findBuilt(build: GoBuild): Built {
  const dir = cacheDir(build);
  if (build.programs.every((program) => canExecute(join(dir, program)))) return { dir };
  return { reason: '`npm test -- --all`, which builds it with Go' };
}

/** @returns what went wrong, if anything did */
function goInstall(go: string, { package: what, tags }: GoPackage, into: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const env = { ...process.env, CGO_ENABLED: '1', GOBIN: into };
    const args = ['install', ...(tags === undefined ? [] : ['-tags', tags]), what];
    const child = spawn(go, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    if (child.pid !== undefined) setPriority(child.pid, 10);
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2000);
    });
    child.once('error', (error) => resolve(error.message));
    child.once('close', (status) => resolve(status === 0 ? undefined : `go ${args.join(' ')} failed:\n${said}`));
  });
}

/** Finds it or builds it. Never rejects. */
export async function obtainBuilt(build: GoBuild): Promise<Built> {
  const found = findBuilt(build);
  if ('dir' in found) return found;
  const go = findCommand('go');
  if (go === undefined) return { reason: build.needs };
  const target = cacheDir(build);
  const scratch = `${target}.${process.pid}`;
  try {
    await mkdir(dirname(target), { recursive: true });
    for (const one of build.packages) {
      const failure = await goInstall(go, one, scratch);
      if (failure !== undefined) return { reason: failure };
    }
    await rm(target, { recursive: true, force: true });
    await rename(scratch, target);
    return findBuilt(build);
  } catch (fault: unknown) {
    return { reason: String(fault) };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * A real flanneld for the interop tests: the one named by FLANNELD, else the one that `go install` made. Later versions
 * can't be had that way: their module has replace directives.
 */
import { join } from 'node:path';
import { canExecute } from './commands.ts';
import { type Built, findBuilt, type GoBuild, obtainBuilt } from './go-build.ts';

const VERSION = 'v0.26.7';

const BUILD: GoBuild = {
  name: `flanneld-${VERSION}`,
  packages: [{ package: `github.com/flannel-io/flannel@${VERSION}` }],
  programs: ['flannel'],
  needs: 'Go (1.23 or newer) to build it, or FLANNELD=PATH',
};

export type Flanneld = { readonly path: string } | { readonly reason: string };

function named(): Flanneld | undefined {
  const path = process.env['FLANNELD'];
  if (path === undefined || path === '') return undefined;
  return canExecute(path) ? { path } : { reason: `FLANNELD=${path} is no program` };
}

function inside(built: Built): Flanneld {
  return 'dir' in built ? { path: join(built.dir, 'flannel') } : { reason: `FLANNELD=PATH, or ${built.reason}` };
}

/** Looks, builds nothing. */
export function findFlanneld(): Flanneld {
  return named() ?? inside(findBuilt(BUILD));
}

/** Finds it or builds it: minutes of work the first time. Never rejects. */
export async function obtainFlanneld(): Promise<Flanneld> {
  return named() ?? inside(await obtainBuilt(BUILD));
}

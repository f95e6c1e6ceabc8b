/** The Dockers that tests run: Debian's own package, and a newer one, built by Go. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { findCommand } from './commands.ts';
import { type Built, findBuilt, type GoBuild, obtainBuilt } from './go-build.ts';

const VERSION = 'v2.0.0-beta.24';

/** Docker 29 (API 1.56). Its runc must be newer than Debian's, which knows no time namespaces. */
const BUILD: GoBuild = {
  name: `dockerd-${VERSION}`,
  packages: [
    { package: `github.com/moby/moby/v2/cmd/dockerd@${VERSION}` },
    { package: 'github.com/opencontainers/runc@v1.5.2', tags: 'seccomp' },
  ],
  programs: ['dockerd', 'runc'],
  needs: 'Go (1.25 or newer), pkg-config and libseccomp-dev to build Docker 29',
};

export type DockerVersion = '20.10' | '29';

/** Path of its dockerd; what it runs with lies beside it, or else where PATH says. */
export type Engine = { readonly version: DockerVersion; readonly program: string };

/** Builds Docker 29 if need be: minutes of work the first time. Never rejects. */
export async function obtainDocker29(): Promise<Built> {
  return await obtainBuilt(BUILD);
}

/** What is missing to run it, in words. */
export function dockerLack(version: DockerVersion): string | undefined {
  if (findCommand('containerd') === undefined) return 'containerd (Debian: containerd)';
  if (findCommand('busybox') === undefined) return 'busybox (Debian: busybox-static)';
  return version === '29' ? newLack() : debianLack();
}

function newLack(): string | undefined {
  const built = findBuilt(BUILD);
  return 'dir' in built ? undefined : `Docker 29: ${built.reason}`;
}

function debianLack(): string | undefined {
  const dockerd = findCommand('dockerd');
  const said = dockerd === undefined ? '' : spawnSync(dockerd, ['--version'], { encoding: 'utf8' }).stdout;
  return said.includes(' 20.10.') ? undefined : 'dockerd 20.10 (Debian 12: docker.io)';
}

/** For those who need it (`docker-29` in require.ts): throws where it is missing. */
export function engine(version: DockerVersion): Engine {
  const built = version === '29' ? findBuilt(BUILD) : undefined;
  if (built && 'reason' in built) throw new Error(`Docker 29: ${built.reason}`);
  const program = built === undefined ? findCommand('dockerd') : join(built.dir, 'dockerd');
  if (program === undefined) throw new Error('there is no dockerd');
  return { version, program };
}

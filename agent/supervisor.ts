/** Who started a process, and would start it again: told by its control group, cgroups(7). */
import { readFile } from 'node:fs/promises';

/** In words, with what stops it for good; undefined where nobody seems to watch over it. */
export async function supervisorOf(pid: number): Promise<string | undefined> {
  return supervisorIn(await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => ''));
}

/** @param text of /proc/<pid>/cgroup, a line `ID:CONTROLLERS:PATH` for each hierarchy */
export function supervisorIn(text: string): string | undefined {
  for (const line of text.split('\n')) {
    const [, controllers, ...rest] = line.split(':');
    if (controllers !== '' && controllers !== 'name=systemd') continue;
    const path = rest.join(':');
    const found = container(path) ?? unit(path);
    if (found) return found;
  }
  return undefined;
}

/** Docker, containerd, CRI-O and podman name the group by the container's id. */
function container(path: string): string | undefined {
  const id = /[0-9a-f]{64}/.exec(path.slice(path.lastIndexOf('/')))?.[0];
  return id && `container ${id.slice(0, 12)}, which may be started again: stop it, or its pod`;
}

/** A process of a login session is in a scope, not in a service. */
function unit(path: string): string | undefined {
  const name = path.slice(path.lastIndexOf('/') + 1);
  if (!name.endsWith('.service') || name.startsWith('user@')) return undefined;
  const command = path.includes('/user@') ? 'systemctl --user' : 'systemctl';
  return `systemd unit ${name}, which may start it again, at boot at the latest: ${command} disable --now ${name}`;
}

/** kill -9 at an exact moment: strace lets a process die as it enters a system call, so that the call is not made. */
import { TARTAN } from './agent.ts';
import type { Host } from './host.ts';
import type { LabProcess } from './process.ts';

/** The `nth` (from 1) call of this name, by whichever thread comes first to its own nth. */
export interface CrashPoint {
  readonly call: string;
  /** Calls on this file only; undefined: all. */
  readonly path: string | undefined;
  readonly nth: number;
}

export function nameOf({ call, path, nth }: CrashPoint): string {
  const on = path === undefined ? '' : ` on ${path.split('/').at(-1)}`;
  return `${call} ${nth}${on}`;
}

function flags({ call, path, nth }: CrashPoint): readonly string[] {
  const only = path === undefined ? [] : ['-P', path];
  return ['-f', '-e', `trace=${call}`, ...only, '-e', `inject=${call}:signal=SIGKILL:when=${nth}`, '-o', '/dev/null'];
}

/**
 * `tartan run`, to die there. The process is the agent itself: strace stands aside (`-D`). Files are written by one
 * thread, so that calls are counted the same each time.
 */
export function startDoomed(host: Host, point: CrashPoint, args: readonly string[]): LabProcess {
  const argv = ['-D', '-qq', ...flags(point), '--', ...TARTAN, 'run', ...args];
  return host.spawn('strace', argv, { env: { UV_THREADPOOL_SIZE: '1' } });
}

/** From now on a running agent dies at that point. Resolves when it is watched. */
export async function doom(host: Host, agent: LabProcess, point: CrashPoint): Promise<LabProcess> {
  const strace = host.spawn('strace', [...flags(point), '-p', String(agent.pid)]);
  await strace.until(/attached/);
  return strace;
}

/** The service manager's side of things (sd_notify(3)); nothing happens where none is listening. */
import { notifySystemd } from '../backends/kernel/syscalls.ts';
import type { Clock } from '../config/clock.ts';
import type { Log } from '../config/log.ts';

export interface Systemd {
  ready(): void;
  /** What `systemctl status` shows: one line. The same line again is not sent. */
  status(line: string): void;
  stopping(): void;
  /** Sends keep-alives at half the watchdog's time for as long as the event loop turns. */
  watch(signal: AbortSignal): Promise<void>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Milliseconds between two keep-alives, undefined where no watchdog is set for this process. */
export function watchdogIntervalMs(env: Environment, pid: number): number | undefined {
  const micros = Number(env['WATCHDOG_USEC']);
  const meant = !env['WATCHDOG_PID'] || Number(env['WATCHDOG_PID']) === pid;
  return meant && Number.isFinite(micros) && micros > 0 ? Math.max(1, micros / 2000) : undefined;
}

export function connectSystemd(env: Environment, context: { readonly clock: Clock; readonly log: Log }): Systemd {
  const { clock, log } = context;
  const path = env['NOTIFY_SOCKET'];
  let told = false;
  let shown: string | undefined;
  const send = (message: string): void => {
    if (!path || notifySystemd(message, path) || told) return;
    told = true;
    log.warn('systemd does not take our notifications', { socket: path });
  };
  const interval = watchdogIntervalMs(env, process.pid);
  return {
    ready: () => send('READY=1\n'),
    status: (line) => {
      // A line break would begin another assignment.
      const next = line.replace(/\s+/g, ' ');
      if (next !== shown) send(`STATUS=${next}\n`);
      shown = next;
    },
    stopping: () => send('STOPPING=1\n'),
    watch: async (signal) => {
      while (interval !== undefined) {
        send('WATCHDOG=1\n');
        await clock.sleep(interval, signal);
      }
    },
  };
}

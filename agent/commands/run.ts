import { setTimeout as sleep } from 'node:timers/promises';
import { exitAtOnce } from '../../backends/kernel/syscalls.ts';
import { TartanError, toError } from '../../config/errors.ts';
import type { Invocation } from '../../config/invocation.ts';
import { effectiveOptions } from '../../config/invocation.ts';
import { runAgent } from '../agent.ts';
import { createLog, resolveLogFormat } from '../logger.ts';
import { systemClock } from '../system-clock.ts';
import { mayNotGrow } from '../young-objects.ts';

/** The first signal stops in order; a second one ends the process at once, as it does with flanneld. */
function stopOn(signals: readonly NodeJS.Signals[], stop: AbortController): void {
  const onSignal = (signal: NodeJS.Signals): void => {
    for (const each of signals) process.off(each, onSignal);
    stop.abort(signal);
  };
  for (const each of signals) process.on(each, onSignal);
}

/** A start is over by then, or waits for something. */
const LOAD_LOG_AFTER_MS = 1_000;
const LAST_WORDS_MS = 1_000;
/** systemd starts us again at once, as after a crash: what fails each time must not do so several times a second. */
const REST_MS = 2_000;

/** `tartan run`. Ends the process: with status 0 after SIGTERM or SIGINT. */
export async function run(invocation: Invocation, version: string): Promise<number> {
  const status = await runUntilStopped(invocation, version);
  exitAtOnce(status);
  return status;
}

async function runUntilStopped(invocation: Invocation, version: string): Promise<number> {
  mayNotGrow();
  const { options, warnings } = invocation;
  const where = { isTerminal: process.stderr.isTTY === true, journalStream: process.env['JOURNAL_STREAM'] };
  const log = createLog({ level: options.logLevel, format: resolveLogFormat(options.logFormat, where) });
  setTimeout(() => {
    log.load().catch((error: unknown) => log.warn('the log goes on without winston', { error }));
  }, LOAD_LOG_AFTER_MS).unref();
  const stop = new AbortController();
  stopOn(['SIGTERM', 'SIGINT'], stop);
  const given = Object.entries(effectiveOptions(invocation)).filter(([key]) => invocation.origins[key] !== 'default');
  log.info('tartan starts', { version, pid: process.pid, node: process.version, options: Object.fromEntries(given) });
  for (const warning of warnings) log.warn('an option is not as you may think', { warning });
  try {
    await runAgent({ options, env: process.env, version, clock: systemClock, log }, stop.signal);
    return 0;
  } catch (error) {
    const failure =
      error instanceof TartanError ? error : new TartanError('INTERNAL', toError(error).stack ?? String(error));
    log.error('tartan ends', { code: failure.code, exit: failure.exitStatus, reason: failure.message });
    // Who reads the log may be slow, but not for ever.
    const written = new Promise<void>((resolve) => process.stderr.write('', () => resolve()));
    await Promise.race([written, sleep(LAST_WORDS_MS)]);
    const { signal } = stop;
    if (process.env['NOTIFY_SOCKET']) await sleep(REST_MS, undefined, { signal }).catch(() => undefined);
    return failure.exitStatus;
  }
}

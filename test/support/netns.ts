import { execSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { searchPath } from './process.ts';

const CLONE_NEWNET = 0x40000000;

/**
 * Moves this process into a network namespace of its own, with the loopback device up. To be called before any socket
 * is opened; child processes are inside too. It goes with the process. A namespace belongs to a thread, so the test
 * runner must use processes.
 */
export function enterFreshNamespace(): void {
  if (!isMainThread) throw new Error('a network namespace belongs to a thread: run the tests in processes');
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const unshare = koffi.load(null).func('int unshare(int flags)');
  if (unshare(CLONE_NEWNET) !== 0) throw new Error(`unshare: errno ${koffi.errno()} (root is needed)`);
  run('ip link set lo up');
}

/** What the shell command prints. Throws where it fails. */
export function run(command: string): string {
  const env = { ...process.env, PATH: searchPath() };
  return execSync(command, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 << 20 });
}

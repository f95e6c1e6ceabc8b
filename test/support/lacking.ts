import type { ExecutionContext } from 'ava';

/**
 * Ends a test that this machine can't run: counted as skipped where `lack` says what is missing, as failed under CI.
 *
 *     if (isLacking(t, whatIsMissing())) return;
 */
export function isLacking(t: ExecutionContext<unknown>, lack: string | undefined): boolean {
  if (lack === undefined) return false;
  if (process.env['CI'] === 'true') t.fail(`this machine lacks: ${lack}`);
  else t.pass();
  // The runner looks for these words and lists the test with what it needs.
  t.log(`skipped, needs: ${lack}`);
  return true;
}

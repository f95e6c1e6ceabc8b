/**
 * Runs on a host: starts an agent and says when it was started and when its subnet file was in place. SIGTERM goes on to
 * the agent, which must end within two seconds: flanneld hangs now and then where it is told so early.
 *
 *     node stopwatch.js LOG SUBNET-FILE COMMAND [ARG ...]
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { instant, tell } from './instant.ts';

const PATIENCE_MS = 2000;

const [log = '', file = '', command = '', ...args] = process.argv.slice(2);
mkdirSync(dirname(file), { recursive: true });

const watcher = watch(dirname(file), (_, name) => {
  const at = instant();
  if (name !== basename(file) || !existsSync(file)) return;
  tell('file', { at });
  watcher.close();
});

// The agent writes its log into memory: whoever reads a pipe takes time on a core that the agent could use.
const output = openSync(log, 'w');
const at = instant();
const agent = spawn(command, args, { stdio: ['ignore', output, output] });
tell('exec', { at, pid: agent.pid });
agent.once('exit', () => watcher.close());
process.once('SIGTERM', () => {
  agent.kill('SIGTERM');
  setTimeout(() => agent.kill('SIGKILL'), PATIENCE_MS).unref();
});

/** The program: launcher.ts starts it, in one file with all that it imports. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCommandLine } from '../config/command-line.ts';
import { TartanError, toError } from '../config/errors.ts';
import { helpText } from '../config/help.ts';
import type { Invocation } from '../config/invocation.ts';

function version(): string {
  const text = readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8');
  const found: unknown = JSON.parse(text);
  return typeof found === 'object' && found !== null && 'version' in found ? String(found.version) : 'unknown';
}

/** Each command is loaded when it is asked for: the agent's start does not wait for the others. */
async function execute(invocation: Invocation): Promise<number> {
  const { command } = invocation;
  switch (command) {
    case 'run':
      return (await import('./commands/run.ts')).run(invocation, version());
    case 'config get':
    case 'config set':
    case 'config check':
      return (await import('./commands/config.ts')).config(invocation);
    case 'leases':
      return (await import('./commands/leases.ts')).leases(invocation);
    case 'status':
      return (await import('./commands/status.ts')).status(invocation);
    case 'wait':
      return (await import('./commands/status.ts')).wait(invocation);
    case 'down':
      return (await import('./commands/down.ts')).down(invocation);
    case 'docker opts':
      return (await import('./commands/docker-opts.ts')).dockerOpts(invocation);
    case 'docker check':
      return (await import('./commands/docker-check.ts')).dockerCheck(invocation);
    case 'help':
      process.stdout.write(helpText(invocation.args.join(' ')));
      return 0;
    case 'version':
      process.stdout.write(`${version()}\n`);
      return 0;
  }
}

async function main(): Promise<number> {
  const parsed = parseCommandLine(process.argv.slice(2), process.env);
  if (!parsed.ok) {
    const list = parsed.problems.map((problem) => `  ${problem}\n`).join('');
    process.stderr.write(`tartan: the command line or the environment is wrong:\n${list}See "tartan help".\n`);
    return new TartanError('USAGE', '').exitStatus;
  }
  // The agent logs its warnings; the other commands just say them.
  if (parsed.invocation.command !== 'run') {
    // A reader that has seen enough (`tartan leases | head`) is no failure.
    process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
    for (const warning of parsed.invocation.warnings) process.stderr.write(`tartan: ${warning}\n`);
  }
  try {
    return await execute(parsed.invocation);
  } catch (error) {
    const failure =
      error instanceof TartanError ? error : new TartanError('INTERNAL', toError(error).stack ?? String(error));
    process.stderr.write(`tartan: ${failure.message} [${failure.code}]\n`);
    return failure.exitStatus;
  }
}

/** A reader that is slower than we are gets all of it. */
async function finish(status: number): Promise<void> {
  await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
  // Whatever still waits for an answer must not keep the process.
  process.exit(status);
}

// Should nothing be left to wait for before it has ended.
process.exitCode = new TartanError('INTERNAL', '').exitStatus;
void main().then(finish);

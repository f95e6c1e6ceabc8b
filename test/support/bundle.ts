import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { inRepository } from './repository.ts';

const ROOMS = ['agent', 'backends', 'config', 'leases'];

/** Every start of it costs as many looks as there are files: once a process. */
let checked = false;

/**
 * The program as it ships. Rejects one that is older than the modules it was made of: compiled, but not built, it would
 * not be what is to be tested.
 */
export function bundledProgram(): string {
  const program = inRepository('dist/bundle/tartan.cjs');
  if (!checked && (changedAt(program) ?? 0) < newest()) throw new Error(`${program} is out of date: npm run build`);
  checked = true;
  return program;
}

function changedAt(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs;
}

function newest(): number {
  const times = ROOMS.flatMap((room) => {
    const directory = inRepository(`dist/${room}`);
    const names = readdirSync(directory, { recursive: true, encoding: 'utf8' });
    return names.filter((name) => name.endsWith('.js')).map((name) => changedAt(join(directory, name)) ?? 0);
  });
  return Math.max(...times);
}

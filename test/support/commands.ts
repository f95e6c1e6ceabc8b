/** Which programs this machine has. */
import { accessSync, constants } from 'node:fs';
import { searchPath } from './process.ts';

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Where a command is, sbin and the usual place of Go included; undefined: not installed. */
export function findCommand(name: string): string | undefined {
  const dirs = [...searchPath().split(':'), '/usr/local/go/bin', '/usr/lib/go/bin'];
  return dirs.map((dir) => `${dir}/${name}`).find(isExecutable);
}

export function canExecute(path: string): boolean {
  return isExecutable(path);
}

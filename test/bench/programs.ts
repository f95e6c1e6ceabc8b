/** The programs beside bench.ts that run on their own, on a host or beside etcd, and tell what they measure. */
import { fileURLToPath } from 'node:url';
import type { Place } from '../support/namespace.ts';
import type { LabProcess } from '../support/process.ts';

/** Only a fault takes so long. */
export const LIMIT_MS = 60_000;

export function launch(place: Place, program: string, args: readonly string[]): LabProcess {
  return place.spawn(process.execPath, [fileURLToPath(new URL(program, import.meta.url)), ...args]);
}

/** The first line of the kind that `find` knows. */
export async function hear<T>(from: LabProcess, find: (line: string) => T | undefined): Promise<T> {
  const found = find(await from.until((line) => find(line) !== undefined, LIMIT_MS));
  if (found === undefined) throw new Error(`${from.name}: a line was lost`);
  return found;
}

/** Anything else that a program prints is for people. */
export function isEvent(line: string, event: string): boolean {
  return line.startsWith(`{"event":"${event}",`);
}

/**
 * Files of others, which may be anything: pipes, devices, gigabytes. Synchronous on purpose: they are on the system's
 * own disk and small, and a turn of the loop for each call would take longer than all of them.
 */
import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { toError } from '../../config/errors.ts';
import { isMissing } from '../atomic-file.ts';

/** No file that is looked at here is anywhere near. */
const MAX_BYTES = 1 << 20;

export type SmallFile = { readonly text: string } | { readonly problem: string };

/** The file's text, or why it can't be had; undefined where there is none. Never throws and never blocks on a pipe. */
export function readSmallFile(path: string): SmallFile | undefined {
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return readOpen(file);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    return isMissing(cause) ? undefined : { problem: toError(cause).message };
  }
}

function readOpen(file: number): SmallFile {
  const stat = fstatSync(file);
  // A link to /dev/null is how systemd masks a file.
  if (stat.isCharacterDevice()) return { text: '' };
  if (!stat.isFile()) return { problem: 'it is no file' };
  if (stat.size > MAX_BYTES) return { problem: `it has ${stat.size} bytes, more than ${MAX_BYTES}` };
  return { text: readFileSync(file, 'utf8') };
}

/** Names in a directory; none where there is no such directory or it can't be read. */
export function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Files of others, which may be anything: pipes, devices, gigabytes. */
import { constants, open, readdir } from 'node:fs/promises';
import { toError } from '../../config/errors.ts';
import { isMissing } from '../atomic-file.ts';

/** No file that is looked at here is anywhere near. */
const MAX_BYTES = 1 << 20;

export type SmallFile = { readonly text: string } | { readonly problem: string };

/** The file's text, or why it can't be had; undefined where there is none. Never rejects and never blocks on a pipe. */
export async function readSmallFile(path: string): Promise<SmallFile | undefined> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await file.stat();
      // A link to /dev/null is how systemd masks a file.
      if (stat.isCharacterDevice()) return { text: '' };
      if (!stat.isFile()) return { problem: 'it is no file' };
      if (stat.size > MAX_BYTES) return { problem: `it has ${stat.size} bytes, more than ${MAX_BYTES}` };
      return { text: await file.readFile('utf8') };
    } finally {
      await file.close();
    }
  } catch (cause) {
    return isMissing(cause) ? undefined : { problem: toError(cause).message };
  }
}

/** Names in a directory; none where there is no such directory or it can't be read. */
export async function namesIn(directory: string): Promise<readonly string[]> {
  return await readdir(directory).catch(() => []);
}

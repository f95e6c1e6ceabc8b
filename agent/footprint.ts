import { unlink } from 'node:fs/promises';
import type { Options } from '../config/options.ts';
import { temporaryOf } from './atomic-file.ts';
import { missingDirectories, withPlaces } from './journal.ts';
import { publishedFiles } from './publisher.ts';
import type { AgentMemory } from './state-file.ts';

/**
 * What a start makes before anything is known of the network: directories and the status socket. To be written down
 * before it is made.
 * @param made directories that are there already.
 */
export function footprint(
  { journal }: AgentMemory,
  options: Options,
  made: readonly string[],
): Pick<AgentMemory, 'journal'> {
  const directories = [...made, ...missingDirectories([options.statusSocket, ...publishedFiles(options)])];
  return { journal: withPlaces(journal, directories, options.statusSocket) };
}

/** Takes away what a crash left half written: an unchanged file would not be written again. */
export async function removeHalfWritten(options: Options): Promise<void> {
  for (const file of publishedFiles(options)) await unlink(temporaryOf(file)).catch(() => undefined);
}

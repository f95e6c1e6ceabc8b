import { rm } from 'node:fs/promises';
import type { Options } from '../config/options.ts';
import { temporaryOf } from './atomic-file.ts';
import { missingDirectories, withPlaces } from './journal.ts';
import type { Memory } from './memory.ts';
import { publishedFiles } from './publisher.ts';

/**
 * Writes down what a start makes before anything is known of the network, before it is made: directories and the status
 * socket. And takes away what a crash left half written: an unchanged file would not be written again.
 * @param made directories that are there already.
 */
export async function noteFootprint(memory: Memory, options: Options, made: readonly string[]): Promise<void> {
  const files = publishedFiles(options);
  const directories = [...made, ...missingDirectories([options.statusSocket, ...files])];
  memory.update({ journal: withPlaces(memory.current.journal, directories, options.statusSocket) });
  await memory.settled();
  for (const file of files) await rm(temporaryOf(file), { force: true }).catch(() => undefined);
}

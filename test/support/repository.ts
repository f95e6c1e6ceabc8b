import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The repository's root. Tests run from dist/, where a file of test/support/ lies three levels down. */
const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Absolute path of a file in the repository, from its path as git names it. */
export function inRepository(path: string): string {
  return `${root}${path}`;
}

/** The text of a file in the repository. */
export function readRepository(path: string): string {
  return readFileSync(inRepository(path), 'utf8');
}

import { mkdir, open, readFile, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { TartanError, toError } from '../config/errors.ts';

/** Whether what was thrown says that there is no such file. */
export function isMissing(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT';
}

/** The file's text; undefined where it does not exist. Rejects with PERMISSION where it can't be read. */
export async function readTextFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw new TartanError('PERMISSION', `cannot read ${path}: ${toError(cause).message}`, { cause });
  }
}

/** What is renamed to `path` in the end; one that stands there was left by a crash. */
export function temporaryOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.tartan-new`);
}

async function modeOf(path: string, otherwise: number): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  return found ? found.mode & 0o777 : otherwise;
}

/** What is not there need not be removed. */
async function remove(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (!isMissing(error)) throw error;
  });
}

async function writeWhole(path: string, content: string | Iterable<string>, mode: number): Promise<void> {
  // What a crash left of an earlier attempt: the name is fixed so that such never pile up.
  await remove(path);
  const file = await open(path, 'wx', mode);
  try {
    await writeFile(file, content);
    await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Puts the content there so that a reader sees the old file or the new one, whole, also after a power cut: temporary
 * file in the same directory, fsync, rename. An existing file keeps its permission bits, as with flannel; the umask is
 * ignored. Rejects with PERMISSION.
 * @param content in pieces, between which others have their turn.
 */
export async function replaceFile(path: string, content: string | Iterable<string>, mode: number): Promise<void> {
  const temporary = temporaryOf(path);
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await writeWhole(temporary, content, await modeOf(path, mode));
    await rename(temporary, path);
  } catch (cause) {
    await remove(temporary).catch(() => undefined);
    throw new TartanError('PERMISSION', `cannot write ${path}: ${toError(cause).message}`, { cause });
  }
}

/**
 * As replaceFile.
 * @returns whether it was written; an unchanged file is left alone.
 */
export async function writeFileAtomically(path: string, text: string, mode = 0o644): Promise<boolean> {
  if ((await readTextFile(path)) === text) return false;
  await replaceFile(path, text, mode);
  return true;
}

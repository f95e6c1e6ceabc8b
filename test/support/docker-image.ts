/**
 * The image of every container in tests, made without a registry: busybox, and a page that tells who asked for it,
 * followed by more bytes than one packet holds.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findCommand } from './commands.ts';

export const IMAGE = 'whoami';
/** Behind the first line of the page. */
export const BODY_BYTES = 100_000;
export const PAGE = '/cgi-bin/whoami';
/** Serves the page below `root`, for ever. */
export const server = (port: number, root: string): readonly string[] => [
  'busybox',
  'httpd',
  '-f',
  '-p',
  `0.0.0.0:${port}`,
  '-h',
  root,
];

const SCRIPT = `#!/bin/sh
printf '\\r\\n'
echo "$REMOTE_ADDR"
head -c ${BODY_BYTES} /dev/zero | tr '\\0' x
`;

const APPLETS = ['sh', 'head', 'tr', 'echo', 'printf', 'cat', 'sleep', 'ping', 'ip', 'hostname', 'httpd', 'env'];

/** The page, below `root`. */
export function writePage(root: string): void {
  mkdirSync(join(root, 'cgi-bin'), { recursive: true });
  writeFileSync(join(root, PAGE), SCRIPT, { mode: 0o755 });
}

let made: Buffer | undefined;

/** A tar, as `docker import` takes it. */
export function imageTar(): Buffer {
  made ??= makeTar();
  return made;
}

function makeTar(): Buffer {
  const busybox = findCommand('busybox');
  if (busybox === undefined) throw new Error('busybox is missing (Debian: busybox-static)');
  const dir = mkdtempSync(join(tmpdir(), 'tartan-image-'));
  try {
    for (const name of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev', 'root'])
      mkdirSync(join(dir, 'fs', name), { recursive: true });
    copyFileSync(busybox, join(dir, 'fs/bin/busybox'));
    copyLibraries(busybox, join(dir, 'fs'));
    for (const applet of APPLETS) symlinkSync('busybox', join(dir, 'fs/bin', applet));
    writePage(join(dir, 'fs/www'));
    execFileSync('tar', ['-C', join(dir, 'fs'), '-cf', join(dir, 'image.tar'), '.']);
    return readFileSync(join(dir, 'image.tar'));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Of a program that is not static: its libraries, at the same paths. */
function copyLibraries(program: string, root: string): void {
  const { stdout } = spawnSync('ldd', [program], { encoding: 'utf8' });
  for (const [path] of stdout.matchAll(/\/\S+(?= \(0x)/g)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    copyFileSync(path, join(root, path));
  }
}

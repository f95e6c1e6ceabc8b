/** The image of containers in tests: a page that tells who asked for it, then more bytes than one packet holds. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Image } from './image.ts';

export const IMAGE = 'whoami';
export const PAGE = '/cgi-bin/whoami';
/** Behind the first line of the page. */
export const BODY_BYTES = 100_000;

const SCRIPT = `#!/bin/sh
printf '\\r\\n'
echo "$REMOTE_ADDR"
head -c ${BODY_BYTES} /dev/zero | tr '\\0' x
`;

/** A command that serves what lies below `root`, for ever. */
export function server(port: number, root: string): readonly string[] {
  return ['busybox', 'httpd', '-f', '-p', `0.0.0.0:${port}`, '-h', root];
}

/** The page, below `root`. */
export function writePage(root: string): void {
  mkdirSync(dirname(join(root, PAGE)), { recursive: true });
  writeFileSync(join(root, PAGE), SCRIPT, { mode: 0o755 });
}

let made: Buffer | undefined;

/** A tar, as `docker import` takes it. */
export function imageTar(): Buffer {
  made ??= Image.make((image) => {
    image.busybox('sh', 'head', 'tr', 'printf', 'echo');
    image.write(`/www${PAGE}`, SCRIPT, 0o755);
  });
  return made;
}

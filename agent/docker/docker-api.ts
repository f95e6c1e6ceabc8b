/** Docker's API on its unix socket: what matters of a few answers. */
import { request } from 'node:http';
import { isJsonObject } from '../../config/go-json.ts';

const ANSWER_WITHIN_MS = 500;
const MAX_BYTES = 8 << 20;

/** What `GET path` says; undefined where nobody answers in time, or not with status 200 and JSON. Never rejects. */
export async function getDocker(socket: string, path: string): Promise<unknown> {
  try {
    return JSON.parse(await fetchText(socket, path));
  } catch {
    return undefined;
  }
}

function fetchText(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const outgoing = request({ socketPath, path, signal, headers: { host: 'docker' } }, (response) => {
      const pieces: Buffer[] = [];
      let bytes = 0;
      if (response.statusCode !== 200) outgoing.destroy(new Error(`status ${response.statusCode}`));
      response.on('data', (piece: Buffer) => {
        bytes += piece.length;
        if (bytes > MAX_BYTES) outgoing.destroy(new Error('too long'));
        else pieces.push(piece);
      });
      response.on('end', () => resolve(Buffer.concat(pieces).toString()));
      response.on('error', reject);
      response.on('close', () => reject(new Error('cut short')));
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

/** A field that is a text; undefined where it is none. */
export function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  let found = value;
  for (const name of path) found = isJsonObject(found) ? found[name] : undefined;
  return typeof found === 'string' ? found : undefined;
}

/** The agent's unix socket: HTTP, so that `curl --unix-socket` reads it too. */
import { chmod, lstat, mkdir, rm } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';
import { TartanError, toError } from '../config/errors.ts';
import { isJsonObject } from '../config/go-json.ts';
import { closeWith } from './health.ts';
import type { Status } from './status.ts';

const ANSWER_WITHIN_MS = 3_000;

/** sun_path of unix(7), less its closing NUL. */
const MAX_PATH_BYTES = 107;

/**
 * Serves `GET /status` until the signal is aborted. A socket file left by a dead agent is replaced; rejects with
 * ALREADY_RUNNING where anybody listens there (an agent: it publishes the same files for another network), USAGE where
 * the path can't be a socket, PERMISSION where it may not.
 */
export async function serveStatus(path: string, status: () => Status, signal: AbortSignal): Promise<void> {
  await refuseSecond(path);
  const server = createServer((incoming, response) => {
    const { code, body } = answerTo(incoming.url, status);
    response.writeHead(code, { 'content-type': 'application/json', connection: 'close' });
    response.end(`${body}\n`);
  });
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    if (!(await removeSocket(path))) {
      throw new TartanError('USAGE', `--status-socket: ${path} exists and is no socket`);
    }
    await new Promise<void>((resolve, reject) => {
      server.on('error', reject);
      server.listen(path, resolve);
    });
    await chmod(path, 0o660);
  } catch (cause) {
    server.close();
    if (cause instanceof TartanError) throw cause;
    const message = `cannot listen on the status socket ${path}: ${toError(cause).message}; see --status-socket`;
    throw new TartanError('PERMISSION', message, { cause });
  }
  closeWith(server, signal);
}

function answerTo(url: string | undefined, status: () => Status): { readonly code: number; readonly body: string } {
  if (url !== '/status') return { code: 404, body: '{"error":"try /status"}' };
  try {
    return { code: 200, body: JSON.stringify(status()) };
  } catch (error) {
    return { code: 500, body: JSON.stringify({ error: toError(error).message }) };
  }
}

/** Removes the socket file, if there is one. @returns false where something else has its place: it stays */
export async function removeSocket(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  if (found && !found.isSocket()) return false;
  await rm(path, { force: true });
  return true;
}

/** Nobody listens: what is there was left by a dead agent, or there is nothing. */
const DEAD = new Set(['ECONNREFUSED', 'ENOENT', 'ENOTDIR']);

/** Who listens on a socket, in words; undefined: nobody. */
export async function serverOf(path: string): Promise<string | undefined> {
  try {
    const { pid, etcd } = await readStatus(path);
    return `pid ${pid} serves ${path}, for ${etcd.prefix}`;
  } catch (error) {
    return isDead(error) ? undefined : `somebody listens on ${path}, and does not tell its status`;
  }
}

function isDead(error: unknown): boolean {
  const cause = toError(toError(error).cause);
  return 'code' in cause && DEAD.has(String(cause.code));
}

async function refuseSecond(path: string): Promise<void> {
  checkLength(path);
  if (!(await lstat(path).catch(() => undefined))) return;
  const other = await readStatus(path).catch((error: unknown) => {
    if (error instanceof TartanError && error.code !== 'NOT_RUNNING') throw error;
    if (isDead(error)) return undefined;
    const message = `somebody listens on ${path} and does not tell its status: ${toError(error).message}; choose another --status-socket`;
    throw new TartanError('ALREADY_RUNNING', message, { cause: error });
  });
  if (!other) return;
  const message = `pid ${other.pid} serves ${path}, for ${other.etcd.prefix}; a second network on this host needs its own --etcd-prefix and --subnet-file`;
  throw new TartanError('ALREADY_RUNNING', message, { data: { pid: other.pid } });
}

function checkLength(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_PATH_BYTES) return;
  const message = `--status-socket: ${path} is ${bytes} bytes long, a socket's path has at most ${MAX_PATH_BYTES}; choose a shorter one (without the option it is beside --subnet-file)`;
  throw new TartanError('USAGE', message);
}

function isStatus(value: unknown): value is Status {
  return isJsonObject(value) && typeof value['ready'] === 'boolean' && Array.isArray(value['peers']);
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function fetchStatus(path: string): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    const outgoing = request({ socketPath: path, path: '/status', timeout: ANSWER_WITHIN_MS }, (response) => {
      text(response).then(resolve, reject);
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${ANSWER_WITHIN_MS / 1000} s`)));
    outgoing.on('error', reject);
    outgoing.end();
  });
}

/** Asks the agent behind the socket. Rejects with NOT_RUNNING where none answers, PERMISSION where we may not ask. */
export async function readStatus(path: string): Promise<Status> {
  checkLength(path);
  const body = await fetchStatus(path).catch((cause: unknown) => {
    const error = toError(cause);
    if ('code' in error && error.code === 'EACCES') {
      throw new TartanError('PERMISSION', `may not connect to ${path}: be root, or of its group`, { cause });
    }
    const hint = 'is the agent running, and with the same --subnet-file or --status-socket?';
    throw new TartanError('NOT_RUNNING', `no agent answers on ${path} (${error.message}); ${hint}`, { cause });
  });
  const value = parse(body);
  if (!isStatus(value)) throw new TartanError('NOT_RUNNING', `what answers on ${path} is no tartan agent`);
  return value;
}

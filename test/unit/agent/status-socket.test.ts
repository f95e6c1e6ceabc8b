import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Status } from '../../../agent/status.ts';
import { readStatus, removeSocket, serveStatus } from '../../../agent/status-socket.ts';

const status: Status = {
  ...{ version: '1', pid: 1, node: 'n', name: 'h', startedAt: '2026-01-01T00:00:00.000Z', ready: true, phase: '' },
  etcd: { endpoints: [], prefix: '/p', connected: true, since: '2026-01-01T00:00:00.000Z' },
  ...{ problems: [], devices: [], inStep: false, missing: [], missingCount: 0, peers: [] },
  ...{ refused: [], refusedCount: 0 },
};

function path(t: ExecutionContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-socket-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  return join(dir, 'agent.sock');
}

async function serve(t: ExecutionContext, at: string, read = () => status): Promise<void> {
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  await serveStatus(at, read, stop.signal);
}

test('what is served is read, and a second one is refused', async (t) => {
  const at = path(t);
  await serve(t, at);
  t.deepEqual(await readStatus(at), status);
  await t.throwsAsync(serve(t, at), { code: 'ALREADY_RUNNING' });
});

test('a fault while the status is made is an answer, and ends nobody', async (t) => {
  const at = path(t);
  await serve(t, at, () => {
    throw new TypeError('no such thing');
  });
  await t.throwsAsync(readStatus(at), { code: 'NOT_RUNNING' });
  await t.throwsAsync(readStatus(at), { code: 'NOT_RUNNING' });
});

test('a path that is no socket stays what it is', async (t) => {
  const at = path(t);
  writeFileSync(at, 'mine');
  await t.throwsAsync(serve(t, at), { code: 'USAGE' });
  t.false(await removeSocket(at));
  t.is(readFileSync(at, 'utf8'), 'mine');
});

test('a socket on which somebody listens without a word is not taken over', async (t) => {
  const at = path(t);
  const stranger = createServer((socket) => socket.end('hello\n'));
  await new Promise<void>((resolve) => stranger.listen(at, resolve));
  t.teardown(() => stranger.close());
  await t.throwsAsync(serve(t, at), { code: 'ALREADY_RUNNING' });
});

test('a path longer than a socket can have is told as such', async (t) => {
  await t.throwsAsync(readStatus(`/run/${'x'.repeat(103)}`), { code: 'USAGE' });
  await t.throwsAsync(readStatus(`/run/${'x'.repeat(102)}`), { code: 'NOT_RUNNING' });
});

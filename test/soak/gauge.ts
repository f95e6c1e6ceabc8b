/**
 * Loaded into an agent before its own code (`node --expose-gc --import gauge.js tartan.cjs run`): who connects to the socket
 * is told how much of the heap is in use after everything that is garbage was collected.
 */
import { createServer } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';

export const GAUGE_SOCKET = '/run/tartan-gauge.sock';

export interface Gauged {
  readonly heapBytes: number;
  /** Held outside of the heap by objects in it. */
  readonly externalBytes: number;
}

/** Finalizers give more back: collected until it stays. */
async function collect(): Promise<Gauged> {
  for (let round = 0; round < 4; round++) {
    globalThis.gc?.();
    await turn();
  }
  const { heapUsed, external } = process.memoryUsage();
  return { heapBytes: heapUsed, externalBytes: external };
}

if (globalThis.gc !== undefined) {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    void collect().then((gauged) => socket.end(JSON.stringify(gauged)));
  });
  server.unref().listen(GAUGE_SOCKET);
}

/** flanneld's health endpoints on its address and port, and `/metrics` beside them. */
import type { Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { TartanError } from '../config/errors.ts';
import type { Metrics } from './metrics.ts';

function answer(
  response: ServerResponse,
  status: number,
  body: string,
  contentType = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, { 'content-type': contentType });
  response.end(body);
}

/**
 * Serves /healthz, /readyz and /metrics until the signal is aborted. Rejects where the port can't be had.
 * `problem`: why the agent is not ready, undefined where it is.
 */
export async function serveHealth(
  where: { readonly host: string; readonly port: number },
  sources: { readonly problem: () => string | undefined; readonly metrics: Metrics },
  signal: AbortSignal,
): Promise<void> {
  const server = createServer((incoming, response) => {
    const path = (incoming.url ?? '/').split('?')[0];
    if (path === '/healthz') return answer(response, 200, 'tartan is running\n');
    if (path === '/readyz') {
      const problem = sources.problem();
      return answer(response, problem === undefined ? 200 : 503, `${problem ?? 'tartan is ready'}\n`);
    }
    if (path !== '/metrics') return answer(response, 404, 'try /healthz, /readyz or /metrics\n');
    sources.metrics.render().then(
      ({ contentType, body }) => answer(response, 200, body, contentType),
      (error: unknown) => answer(response, 500, `${error instanceof Error ? error.message : error}\n`),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.on('error', (cause) => {
      const message = `cannot serve health on ${where.host}, port ${where.port} (${cause.message}); choose others by --healthz-ip and --healthz-port`;
      reject(new TartanError('PERMISSION', message, { cause }));
    });
    server.listen(where.port, where.host, resolve);
  });
  closeWith(server, signal);
}

/** Ends the server at once, whoever is connected. */
export function closeWith(server: Server, signal: AbortSignal): void {
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  if (signal.aborted) close();
  signal.addEventListener('abort', close, { once: true });
}

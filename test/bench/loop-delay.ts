import type { Place } from '../support/namespace.ts';

/** Where our agents tell their metrics, on loopback. */
const METRICS = { ip: '127.0.0.1', port: 9090 } as const;

export const METRICS_FLAGS: readonly string[] = [`--healthz-ip=${METRICS.ip}`, `--healthz-port=${METRICS.port}`];

const ASK = `fetch('http://${METRICS.ip}:${METRICS.port}/metrics').then(async (r) => console.log(await r.text()))`;

/** How late the event loop of the place's agent was since this was last asked: p99, ms. */
export async function loopDelay(place: Place): Promise<number> {
  const text = await place.run(process.execPath, ['-e', ASK]);
  return Number(/^nodejs_eventloop_lag_p99_seconds (\S+)$/m.exec(text)?.[1]) * 1000;
}

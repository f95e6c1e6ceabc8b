/** iperf3 between two places: how much of TCP gets through. */
import type { Place } from './namespace.ts';
import type { LabProcess } from './process.ts';

/** Who sends, who receives, and at which of its addresses. */
export interface Route {
  readonly from: Place;
  readonly to: Place;
  readonly address: string;
}

export interface TcpFlow {
  readonly seconds: number;
  /** At once. */
  readonly streams: number;
}

/** As the receiver saw it. */
export interface TcpResult {
  readonly bytes: number;
  readonly gigabitsPerSecond: number;
  readonly retransmits: number;
}

interface Report {
  readonly error?: string;
  readonly end: {
    readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number };
    readonly sum_sent?: { readonly retransmits?: number };
  };
}

/** Beyond what a run is to take: only a fault does. */
const GRACE_MS = 30_000;

async function serve({ to, address }: Route): Promise<LabProcess> {
  const server = to.spawn('iperf3', ['--server', '--one-off', '--forceflush', '--bind', address]);
  await server.until(/^Server listening/);
  return server;
}

export async function tcpFlow(route: Route, { seconds, streams }: TcpFlow): Promise<TcpResult> {
  const server = await serve(route);
  try {
    const args = ['--client', route.address, '--json', '--time', String(seconds), '--parallel', String(streams)];
    const { stdout, stderr } = await route.from.exec('iperf3', args, { timeoutMs: seconds * 1000 + GRACE_MS });
    const { error, end }: Report = JSON.parse(stdout === '' ? '{"error":"it said nothing","end":{}}' : stdout);
    if (error !== undefined) throw new Error(`iperf3 to ${route.to.name}: ${error} ${stderr}\n${server.tail()}`);
    return {
      bytes: end.sum_received?.bytes ?? 0,
      gigabitsPerSecond: (end.sum_received?.bits_per_second ?? 0) / 1e9,
      retransmits: end.sum_sent?.retransmits ?? 0,
    };
  } finally {
    await server.kill();
  }
}

/**
 * Runs beside etcd: reads its metrics every half a second, and says what was added since the last time.
 *
 *     node etcd-gauge.js ENDPOINT
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { instant, tell } from './instant.ts';

const EVERY_MS = 500;
const [endpoint = ''] = process.argv.slice(2);

interface Totals {
  /** Calls begun, streams among them. */
  readonly requests: number;
  readonly sentBytes: number;
  readonly events: number;
}

function sum(text: string, name: string): number {
  const lines = text.split('\n').filter((line) => line.startsWith(name));
  return lines.reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** undefined: it is away. */
async function read(): Promise<Totals | undefined> {
  try {
    const text = await (await fetch(`${endpoint}/metrics`)).text();
    return {
      requests: sum(text, 'grpc_server_started_total'),
      sentBytes: sum(text, 'etcd_network_client_grpc_sent_bytes_total'),
      events: sum(text, 'etcd_debugging_mvcc_events_total'),
    };
  } catch {
    return undefined;
  }
}

let before: Totals = (await read()) ?? { requests: 0, sentBytes: 0, events: 0 };
let [at, wasAway] = [instant(), false];
for (;;) {
  await sleep(EVERY_MS);
  const now = await read();
  const last = at;
  at = instant();
  if (now === undefined) {
    wasAway = true;
    continue;
  }
  // One that was started again counts from nothing.
  if (wasAway) before = { requests: 0, sentBytes: 0, events: 0 };
  wasAway = false;
  tell('gauge', {
    ...{ at, seconds: (at - last) / 1000 },
    requests: now.requests - before.requests,
    sentBytes: now.sentBytes - before.sentBytes,
    events: now.events - before.events,
  });
  before = now;
}

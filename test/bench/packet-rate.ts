/** Small UDP packets between two places, by packets.c: how many arrive. */
import type { Route } from '../support/iperf.ts';
import type { Place } from '../support/namespace.ts';
import { inRepository } from '../support/repository.ts';
import { LIMIT_MS } from './programs.ts';

const PROGRAM = '/run/packets';
const PORT = '7077';
/** Of payload: 228 with the headers. */
const BYTES = '200';

/** What a path may lose and still be said to carry that many. */
const TOLERABLE_LOSS = 0.01;

interface Burst {
  readonly sentPerSecond: number;
  readonly receivedPerSecond: number;
  readonly loss: number;
}

export async function installPackets(place: Place): Promise<void> {
  await place.run('cc', ['-O2', '-o', PROGRAM, inRepository('test/bench/packets.c')]);
}

/** @param perSecond undefined: as many as the sender can */
async function burst({ from, to, address }: Route, ms: number, perSecond: number | undefined): Promise<Burst> {
  const receiver = to.spawn(PROGRAM, ['receive', address, PORT]);
  try {
    await receiver.until(/^ready$/);
    const args = ['send', address, PORT, BYTES, String(perSecond ?? 0), String(ms)];
    const sent: { readonly sent: number; readonly ms: number } = JSON.parse(await from.run(PROGRAM, args));
    const said = await receiver.until(/^\{"received"/, LIMIT_MS);
    const got: { readonly received: number; readonly ms: number } = JSON.parse(said);
    return {
      sentPerSecond: (sent.sent * 1000) / sent.ms,
      receivedPerSecond: (got.received * 1000) / Math.max(got.ms, sent.ms),
      loss: 1 - got.received / sent.sent,
    };
  } finally {
    await receiver.kill();
  }
}

/** Packets a second that arrive while the sender sends as many as it can. */
export async function floodRate(route: Route, ms: number): Promise<number> {
  return (await burst(route, ms, undefined)).receivedPerSecond;
}

/**
 * The most packets a second that arrive with less than 1 % lost: halved in `steps` between nothing and what the sender
 * can.
 */
export async function pacedRate(route: Route, ms: number, steps: number): Promise<number> {
  let [low, high] = [0, (await burst(route, ms, undefined)).sentPerSecond];
  let best = 0;
  for (let step = 0; step < steps; step++) {
    const rate = (low + high) / 2;
    const { receivedPerSecond, loss } = await burst(route, ms, rate);
    if (loss < TOLERABLE_LOSS) {
      low = rate;
      best = Math.max(best, receivedPerSecond);
    } else high = rate;
  }
  return best;
}

import type { Route } from '../support/iperf.ts';
import { quantile } from './statistics.ts';

/** Of so many pings a hundredth of a second apart the median, ms. */
export async function roundTrip({ from, address }: Route, count: number): Promise<number> {
  const said = await from.run('ping', ['-n', '-i', '0.01', '-c', String(count), address]);
  return quantile(
    [...said.matchAll(/ time=([\d.]+) ms$/gm)].map(([, ms]) => Number(ms)),
    0.5,
  );
}

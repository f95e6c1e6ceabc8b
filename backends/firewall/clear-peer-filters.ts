import { peerFilterTable } from './peer-filter-script.ts';
import type { Programs } from './programs.ts';

/**
 * Takes the peer filters of devices away, where there are some: when nobody tells them of new peers any more. One that
 * stays nevertheless ends by itself within a minute.
 */
export async function clearPeerFilters(programs: Programs, devices: Iterable<string>): Promise<void> {
  for (const device of devices) await programs.run('nft', ['delete', 'table', ...peerFilterTable(device).split(' ')]);
}

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/**
 * The descriptor of the socket of that netlink protocol that is bound to `port`, which the netlink package does not tell: the port
 * leads to the socket's inode, the inode to the descriptor. undefined where /proc does not have it.
 * Read synchronously: the thread pool may be in another network namespace than the caller.
 *
 *   /proc/self/net/netlink: sk, protocol, port, groups, rmem, wmem, dump, locks, drops, inode
 */
export function netlinkDescriptor(port: number, protocol: number): number | undefined {
  const rows = readFileSync('/proc/self/net/netlink', 'utf8').split('\n');
  const cells = rows
    .map((row) => row.trim().split(/\s+/))
    .find((row) => row[1] === String(protocol) && row[2] === String(port));
  if (cells === undefined) return undefined;
  const target = `socket:[${cells.at(-1)}]`;
  const name = readdirSync('/proc/self/fd').find((fd) => linkTarget(`/proc/self/fd/${fd}`) === target);
  return name === undefined ? undefined : Number(name);
}

/** "" for the descriptor by which the folder itself was read: it is closed by now. */
function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

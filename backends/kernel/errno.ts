import { constants } from 'node:os';

/** Two names share these numbers on Linux; the kernel's sources use the ones given here. */
const PREFERRED = ['EAGAIN', 'EOPNOTSUPP', 'EDEADLK'];

const NAMES = new Map<number, string>(Object.entries(constants.errno).map(([name, number]) => [number, name]));
for (const [name, number] of Object.entries(constants.errno)) if (PREFERRED.includes(name)) NAMES.set(number, name);

/** `EEXIST` for 17; `E524` for numbers that libc has no name for. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `E${errno}`;
}

/**
 * How much room V8 gives to young objects. Loading makes many that stay: with 1 MB they would be copied again and again.
 * What runs makes many that do not: with up to 16 MB, as is usual, the process is the larger, at no gain in time.
 */
import { setFlagsFromString } from 'node:v8';

/** Twice as much each time that there is too little. */
export function mayGrow(): void {
  setFlagsFromString('--semi-space-growth-factor=2');
}

/** As much as there is by now. */
export function mayNotGrow(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

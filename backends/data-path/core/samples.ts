/**
 * Whom the peer filter has objected to, for somebody to read now and then. What is full, or holds the same already, takes
 * no more until it is emptied: a flood costs no more than this.
 *
 *    count, then 48 bytes each: counter, outer version, inner version (0: no IP), outer address, inner source, 16 bytes each
 */
import { SAMPLES } from './layout.ts';
import { load32, store32 } from './memory.ts';

const ENTRY_BYTES = 48;
export const SAMPLES_MAX = 32;

/** Addresses at `outer` and `inner`, of 4 or 16 bytes as their versions say. */
export function addSample(counter: i32, outerVersion: i32, outer: i32, innerVersion: i32, inner: i32): void {
  const samples = load32(SAMPLES);
  if (samples >= SAMPLES_MAX) return;
  const at = SAMPLES + 4 + samples * ENTRY_BYTES;
  store32(at, counter);
  store32(at + 4, outerVersion);
  store32(at + 8, innerVersion);
  storeAddress(at + 12, outerVersion, outer);
  storeAddress(at + 28, innerVersion, inner);
  for (let i = 0; i < samples; i++) if (same(SAMPLES + 4 + i * ENTRY_BYTES, at)) return;
  store32(SAMPLES, samples + 1);
}

function storeAddress(at: i32, version: i32, from: i32): void {
  const bytes = version === 4 ? 4 : version === 6 ? 16 : 0;
  for (let i = 0; i < 16; i += 4) store32(at + i, i < bytes ? load32(from + i) : 0);
}

function same(a: i32, b: i32): boolean {
  for (let i = 0; i < 44; i += 4) if (load32(a + i) !== load32(b + i)) return false;
  return true;
}

export function clearSamples(): void {
  store32(SAMPLES, 0);
}

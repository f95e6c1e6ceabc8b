/**
 * RFC 1071: the ones' complement of the ones' complement sum of all 16-bit words, an odd last byte padded with zero. Over
 * bytes that hold their own right checksum it is 0.
 */
export function internetChecksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  let at = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 1, at += 1) sum += (part[i] ?? 0) << (at % 2 === 0 ? 8 : 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return 0xffff - sum;
}

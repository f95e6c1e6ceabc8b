/**
 * Protobuf's wire format (protobuf.dev/programming-guides/encoding), read from front to back:
 *
 *   message   { tag value }
 *   tag       varint: number of the field << 3 | wire type
 *   value     0: varint    1: eight bytes    2: varint length, as many bytes    5: four bytes
 *
 * What does not end where it should is a RangeError.
 */

/** So many bytes of a varint have 49 bits, which a number holds exactly; three more have the rest of 64. */
const LOW_BYTES = 7;
const HIGH_BYTES = 3;

export class ProtobufReader {
  readonly #bytes: Buffer;
  #at = 0;
  /** Of the varint that was too long for a number: its first seven bytes. */
  #low = 0;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get at(): number {
    return this.#at;
  }

  /** Whether there is more of what ends at `end`. */
  isBefore(end: number): boolean {
    if (this.#at > end) throw new RangeError('a message is cut short');
    return this.#at < end;
  }

  /** A tag, a length, a boolean, an enumeration: one byte as a rule. */
  uint(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined || byte > 127) return this.int64();
    this.#at += 1;
    return byte;
  }

  /** Rounded where a number can't hold it. */
  int64(): number {
    return this.#number() ?? Number(BigInt.asIntN(64, this.#bigint()));
  }

  /** Every digit. */
  int64Text(): string {
    return String(this.#number() ?? BigInt.asIntN(64, this.#bigint()));
  }

  /** Every digit. */
  uint64Text(): string {
    return String(this.#number() ?? BigInt.asUintN(64, this.#bigint()));
  }

  /** Reads a length. @returns where the bytes that follow end. */
  end(): number {
    const length = this.uint();
    const end = this.#at + length;
    // Whoever takes a length of 2^63 for where it reads on would begin anew.
    if (!(length >= 0 && end <= this.#bytes.length)) throw new RangeError('a message is cut short');
    return end;
  }

  /** As UTF-8, invalid bytes replaced; no more than the first `limit` bytes. */
  text(limit = Number.POSITIVE_INFINITY): string {
    const end = this.end();
    const start = this.#at;
    this.#at = end;
    return this.#bytes.toString('utf8', start, Math.min(end, start + limit));
  }

  /** A copy. */
  bytes(): Buffer {
    const end = this.end();
    const start = this.#at;
    this.#at = end;
    return Buffer.from(this.#bytes.subarray(start, end));
  }

  /** Passes over the value of a field that nobody asked for. */
  skip(tag: number): void {
    const wireType = tag & 7;
    if (wireType === 2) this.#at = this.end();
    else if (wireType === 1) this.#at += 8;
    else if (wireType === 5) this.#at += 4;
    else if (wireType === 0) this.#skipVarint();
    else throw new RangeError(`nothing has wire type ${wireType}`);
  }

  #skipVarint(): void {
    while ((this.#bytes[this.#at] ?? 0) > 127) this.#at += 1;
    this.#at += 1;
  }

  /** A varint; undefined: it is longer, and `bigint` goes on with it. */
  #number(): number | undefined {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < LOW_BYTES; i++) {
      const byte = this.#next();
      if (byte < 128) return value + byte * scale;
      value += (byte - 128) * scale;
      scale *= 128;
    }
    this.#low = value;
    return undefined;
  }

  #bigint(): bigint {
    let high = 0;
    let scale = 1;
    for (let i = 0; i < HIGH_BYTES; i++) {
      const byte = this.#next();
      if (byte < 128) return (BigInt(high + byte * scale) << 49n) | BigInt(this.#low);
      high += (byte - 128) * scale;
      scale *= 128;
    }
    throw new RangeError('a number has more than ten bytes');
  }

  #next(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new RangeError('a message is cut short');
    this.#at += 1;
    return byte;
  }
}

import { familyOf, type Ip, ip4ToNumber, ipToBytes, type Mac } from '../../config/address.ts';
import { NLM_F_ACK } from './message.ts';

function hexDigit(code: number): number {
  return code < 58 ? code - 48 : code - 87;
}

/**
 * Writes messages one behind the other into one buffer that is made once: 10,000 peers are 40,000 messages.
 * `begin`, the family header, attributes, `end`. Sequence numbers count up from the one that `reset` was given.
 */
export class MessageWriter {
  readonly #buffer: Buffer;
  #at = 0;
  #start = 0;
  #count = 0;
  #firstSeq = 0;

  constructor(bytes: number) {
    this.#buffer = Buffer.allocUnsafe(bytes);
  }

  reset(firstSeq: number): void {
    this.#at = 0;
    this.#count = 0;
    this.#firstSeq = firstSeq;
  }

  get count(): number {
    return this.#count;
  }

  get firstSeq(): number {
    return this.#firstSeq;
  }

  begin(type: number, flags: number): void {
    this.#start = this.#at;
    this.#at += 4;
    this.u16(type);
    this.u16(flags);
    this.u32(this.#firstSeq + this.#count);
    this.u32(0);
  }

  end(): void {
    this.#buffer.writeUInt32LE(this.#at - this.#start, this.#start);
    this.#count++;
  }

  /** As `bytes`, the last message with the wish to be acknowledged. */
  acknowledged(): Buffer {
    const flags = this.#buffer.readUInt16LE(this.#start + 6);
    this.#buffer.writeUInt16LE(flags | NLM_F_ACK, this.#start + 6);
    return this.bytes();
  }

  /** What was written: until the next `reset`. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  u8(value: number): void {
    this.#buffer[this.#at++] = value;
  }

  u16(value: number): void {
    this.#at = this.#buffer.writeUInt16LE(value, this.#at);
  }

  u32(value: number): void {
    this.#at = this.#buffer.writeUInt32LE(value, this.#at);
  }

  attributeU8(type: number, value: number): void {
    this.u16(5);
    this.u16(type);
    this.u32(value);
  }

  attributeU32(type: number, value: number): void {
    this.u16(8);
    this.u16(type);
    this.u32(value);
  }

  attributeIp(type: number, ip: Ip): void {
    if (familyOf(ip) === 6) {
      this.attributeBytes(type, ipToBytes(ip));
      return;
    }
    this.u16(8);
    this.u16(type);
    this.#at = this.#buffer.writeUInt32BE(ip4ToNumber(ip), this.#at);
  }

  attributeMac(type: number, mac: Mac): void {
    this.u16(10);
    this.u16(type);
    for (let i = 0; i < 17; i += 3) this.u8(hexDigit(mac.charCodeAt(i)) * 16 + hexDigit(mac.charCodeAt(i + 1)));
    this.u16(0);
  }

  attributeBytes(type: number, value: Uint8Array): void {
    this.u16(4 + value.length);
    this.u16(type);
    this.#buffer.set(value, this.#at);
    this.#at += value.length;
    while ((this.#at & 3) !== 0) this.u8(0);
  }

  /** An attribute that holds the attributes which `write` writes. */
  attributeNest(type: number, write: () => void): void {
    const start = this.#at;
    this.u16(0);
    this.u16(type);
    write();
    this.#buffer.writeUInt16LE(this.#at - start, start);
  }
}

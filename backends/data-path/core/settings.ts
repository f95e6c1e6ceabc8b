/** What the core was told of its device. */
import { load32, store32 } from './memory.ts';

/** Bytes of an Ethernet header where the device is a TAP, 0 where it is a TUN. */
export let linkBytes = 0;
/** Bytes of a VXLAN header, or none. */
export let tunnelBytes = 0;
/** The second word of a VXLAN header, as it is loaded. */
export let vniWord = 0;
export let mtu = 1472;
/** Bytes of a peer's socket address: 16 for IPv4, 28 for IPv6. */
export let addressBytes = 16;

export const FILTER_OFF = 0;
export const FILTER_REPORT = 1;
const FILTER_ENFORCE = 2;
export const FILTER_STRICT = 3;
export let filter = FILTER_ENFORCE;

/** Whether datagrams of one size share a message (UDP_SEGMENT). */
export let grouping = false;
/** Whether the device takes TCP super-packets, and UDP's. */
export let mergingTcp = false;
export let mergingUdp = false;

/** Our VTEP's MAC, as it is loaded. */
export let ownMac32 = 0;
export let ownMac16 = 0;

/** The outer address that we send from. */
export let local0 = 0;
export let local1 = 0;
export let local2 = 0;
export let local3 = 0;

/** TUN and bare packets. */
export function setUdp(): void {
  linkBytes = 0;
  tunnelBytes = 0;
}

/** TAP and VXLAN; the words as they are loaded from bytes in network order. */
export function setVxlan(vni: i32, mac32: i32, mac16: i32): void {
  linkBytes = 14;
  tunnelBytes = 8;
  vniWord = vni;
  ownMac32 = mac32;
  ownMac16 = mac16;
}

export function setDevice(mtuBytes: i32, filterMode: i32): void {
  mtu = mtuBytes;
  filter = filterMode;
}

/** The outer address, and what a socket address of its family takes. */
export function setLocal(bytes: i32, a: i32, b: i32, c: i32, d: i32): void {
  addressBytes = bytes;
  local0 = a;
  local1 = b;
  local2 = c;
  local3 = d;
}

export function setOffloads(group: boolean, mergeTcp: boolean, mergeUdp: boolean): void {
  grouping = group;
  mergingTcp = mergeTcp;
  mergingUdp = mergeUdp;
}

let baseLow = 0;
let baseHigh = 0;
/** From this offset on an address is above the next multiple of 4 GiB; beyond the memory where it is not crossed. */
let carryFrom = 0x7fffffff;

/** Where this memory is in the process's address space. */
export function setBase(low: i32, high: i32): void {
  baseLow = low;
  baseHigh = high;
  const room = -low | 0;
  carryFrom = low !== 0 && room > 0 ? room : 0x7fffffff;
}

/** Writes the pointer to `offset`, as the kernel reads it (LP64). */
export function storePointer(at: i32, offset: i32): void {
  store32(at, (baseLow + offset) | 0);
  store32(at + 4, offset >= carryFrom ? baseHigh + 1 : baseHigh);
}

/** The offset that a pointer into this memory means. */
export function loadPointer(at: i32): i32 {
  return (load32(at) - baseLow) | 0;
}

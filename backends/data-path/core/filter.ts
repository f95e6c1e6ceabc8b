/**
 * Who may send what. The outer source must be a live peer's (else a stranger). Where the inner source lies in the
 * cluster's networks, it must lie in a subnet of a peer with that outer source (else spoofed); elsewhere it passes, but
 * for the strict (foreign). What claims to come from this host has gone round in a circle (looped), and is dropped
 * whatever the filter. What is neither IP nor ARP may hold any source, where nobody looks: it does not pass.
 */
import { listHolds } from './address-list.ts';
import { count, RX_ETHERTYPE, RX_FOREIGN, RX_LOOPED, RX_SPOOFED, RX_STRANGER } from './counters.ts';
import { NETWORKS, OWN } from './layout.ts';
import { load8, load16, load32 } from './memory.ts';
import { findAnother, findOf, findSlot, peerAt, SOURCE4, SOURCE6, SUBNET4, SUBNET6 } from './peer-table.ts';
import { lengthEntry, lengthsOf } from './prefix-lengths.ts';
import { addSample } from './samples.ts';
import { FILTER_OFF, FILTER_REPORT, FILTER_STRICT, filter, local0, local1, local2, local3 } from './settings.ts';

const AF_INET = 2;
const AF_INET6 = 10;

/** The outer source of the message at hand. */
let outerVersion = 0;
let outerAt = 0;
let outer0 = 0;
let outer1 = 0;
let outer2 = 0;
let outer3 = 0;
/** The counter that speaks against it, or 0. */
let outerVerdict = 0;

/** The inner source of the packet before, of the same message, and what was said of it. */
let innerVersion = 0;
let inner0 = 0;
let inner1 = 0;
let inner2 = 0;
let inner3 = 0;
let innerVerdict = 0;

/** Looks at the socket address (of `bytes`) that a message came from. */
export function takeSender(name: i32, bytes: i32): void {
  innerVersion = 0;
  outerVersion = 0;
  outerAt = name;
  const family = bytes >= 16 ? load16(name) : 0;
  if (family === AF_INET) outerVersion = 4;
  if (family === AF_INET6 && bytes >= 24) outerVersion = 6;
  if (outerVersion !== 0) outerAt = name + (outerVersion === 4 ? 4 : 8);
  const wide = outerVersion === 6;
  outer0 = outerVersion === 0 ? 0 : load32(outerAt);
  outer1 = wide ? load32(outerAt + 4) : 0;
  outer2 = wide ? load32(outerAt + 8) : 0;
  outer3 = wide ? load32(outerAt + 12) : 0;
  outerVerdict = judgeOuter();
}

function judgeOuter(): i32 {
  if (outer0 === local0 && outer1 === local1 && outer2 === local2 && outer3 === local3) return RX_LOOPED;
  if (filter === FILTER_OFF) return 0;
  if (outerVersion === 0) return RX_STRANGER;
  const known = findSlot(outerVersion === 4 ? SOURCE4 : SOURCE6, outer0, outer1, outer2, outer3) >= 0;
  return known ? 0 : RX_STRANGER;
}

/** Whether a packet with its source address at `source` passes. What does not is counted. */
export function passes(version: i32, source: i32): boolean {
  return permits(verdictOf(version, source), version, source);
}

/** Whether a frame passes in which nobody has looked for a source; `harmless`: nor will the kernel. */
export function passesUnread(harmless: boolean): boolean {
  return permits(harmless || filter === FILTER_OFF ? 0 : RX_ETHERTYPE, 0, 0);
}

function permits(inner: i32, version: i32, source: i32): boolean {
  const verdict = outerVerdict === 0 || inner === RX_LOOPED ? inner : outerVerdict;
  if (verdict === 0) return true;
  count(verdict, 1);
  if (verdict === RX_LOOPED) return false;
  addSample(verdict, outerVersion, outerAt, version, source);
  return filter === FILTER_REPORT;
}

function verdictOf(version: i32, source: i32): i32 {
  const wide = version === 6;
  const a = load32(source);
  const b = wide ? load32(source + 4) : 0;
  const c = wide ? load32(source + 8) : 0;
  const d = wide ? load32(source + 12) : 0;
  if (innerVersion === version && inner0 === a && inner1 === b && inner2 === c && inner3 === d) return innerVerdict;
  innerVersion = version;
  inner0 = a;
  inner1 = b;
  inner2 = c;
  inner3 = d;
  innerVerdict = judgeInner(version, a, b, c, d, source);
  return innerVerdict;
}

function judgeInner(version: i32, a: i32, b: i32, c: i32, d: i32, source: i32): i32 {
  if (listHolds(OWN, version, a, b, c, d)) return RX_LOOPED;
  if (filter === FILTER_OFF) return 0;
  if (listHolds(NETWORKS, version, a, b, c, d)) return sendersOwn(version, a, b, c, d) ? 0 : RX_SPOOFED;
  return filter === FILTER_STRICT && !(version === 6 && ofItsLink(source)) ? RX_FOREIGN : 0;
}

/** Neighbour discovery's sources: fe80::/10, and :: of who has none yet. */
function ofItsLink(source: i32): boolean {
  if (load8(source) === 0xfe) return (load8(source + 1) & 0xc0) === 0x80;
  return load32(source) === 0 && load32(source + 4) === 0 && load32(source + 8) === 0 && load32(source + 12) === 0;
}

/** Whether the inner source lies in a subnet of a peer that the outer source belongs to. */
function sendersOwn(version: i32, a: i32, b: i32, c: i32, d: i32): boolean {
  const list = lengthsOf(version);
  const lengths = load32(list);
  for (let i = 0; i < lengths; i++) {
    const entry = lengthEntry(list, i);
    const kind = (version === 4 ? SUBNET4 : SUBNET6) + load32(entry);
    const e = a & load32(entry + 4);
    const f = b & load32(entry + 8);
    const g = c & load32(entry + 12);
    const h = d & load32(entry + 16);
    let slot = findSlot(kind, e, f, g, h);
    while (slot >= 0) {
      if (isSenders(peerAt(slot))) return true;
      slot = findAnother(slot, kind, e, f, g, h);
    }
  }
  return false;
}

function isSenders(peer: i32): boolean {
  return findOf(peer, outerVersion === 4 ? SOURCE4 : SOURCE6, outer0, outer1, outer2, outer3) >= 0;
}

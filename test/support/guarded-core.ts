/**
 * The packet core as JavaScript, with every access to memory watched: what is read or written where it must not be
 * throws. It is the compiled modules with another `memory.js` put in front of theirs.
 */
import { cpSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type PacketCore, packetCoreOf } from '../../backends/data-path/packet-core.ts';
import { inRepository } from './repository.ts';

export const READING = 1;
export const WRITING = 2;

export interface GuardedCore {
  readonly core: PacketCore;
  /** One byte for each of the memory: what is forbidden there. */
  readonly forbidden: Uint8Array;
  /** One number: from there on nothing may be written. */
  readonly end: Int32Array;
}

const WATCHED = `
import * as machine from './machine.js';
export const memory = machine.memory;
export const forbidden = new Uint8Array(memory.byteLength);
export const end = new Int32Array([memory.byteLength]);
function check(at, length, what) {
  if (at < 0 || length < 0 || at + length > forbidden.length) throw new RangeError('outside of the memory: ' + at + ' + ' + length);
  if (what === 2 && at + length > end[0]) throw new RangeError('writes at 0x' + at.toString(16));
  for (let i = at; i < at + length; i++) {
    if ((forbidden[i] & what) !== 0) throw new RangeError((what === 1 ? 'reads at 0x' : 'writes at 0x') + i.toString(16));
  }
}
export function load8(at) { check(at, 1, 1); return machine.load8(at); }
export function load16(at) { check(at, 2, 1); return machine.load16(at); }
export function load32(at) { check(at, 4, 1); return machine.load32(at); }
export function store8(at, value) { check(at, 1, 2); machine.store8(at, value); }
export function store16(at, value) { check(at, 2, 2); machine.store16(at, value); }
export function store32(at, value) { check(at, 4, 2); machine.store32(at, value); }
export function copy(to, from, length) { check(from, length, 1); check(to, length, 2); machine.copy(to, from, length); }
export function sum(at, length) { check(at, length, 1); return machine.sum(at, length); }
export const multiply = machine.multiply;
`;

/** Independent of every other one. */
export async function openGuardedCore(seed: number): Promise<GuardedCore> {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-guarded-core-'));
  try {
    const compiled = inRepository('dist/backends/data-path');
    cpSync(join(compiled, 'core'), join(dir, 'core'), { recursive: true });
    cpSync(join(compiled, 'script-core.js'), join(dir, 'script-core.js'));
    renameSync(join(dir, 'core/memory.js'), join(dir, 'core/machine.js'));
    writeFileSync(join(dir, 'core/memory.js'), WATCHED);
    writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
    const { SCRIPT_CORE, SCRIPT_MEMORY } = await import(pathToFileURL(join(dir, 'script-core.js')).href);
    const { forbidden, end } = await import(pathToFileURL(join(dir, 'core/memory.js')).href);
    return { core: packetCoreOf('js', SCRIPT_CORE, SCRIPT_MEMORY, seed), forbidden, end };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

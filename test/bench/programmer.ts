/**
 * Runs on a host: the agent's reconciler programs peers into a device that is there.
 *
 *     node programmer.js objects|plain PEERS            says how long it took
 *     node programmer.js objects|plain PEERS DIRECTORY  leaves there what it sent, for others to do the same:
 *                                                       messages (sender.c), and ip and bridge batches
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Kernel } from '../../backends/kernel/kernel.ts';
import { openKernel } from '../../backends/kernel/linux-kernel.ts';
import { NetlinkSocket } from '../../backends/kernel/netlink-socket.ts';
import type { Operation } from '../../backends/state.ts';
import { silentLog } from '../../config/log.ts';
import { instant, tell } from './instant.ts';
import { arrivals, inStep, startReconciler } from './rig.ts';

const [way = '', peers = '', directory] = process.argv.slice(2);

/** What a batch for sender.c is made of. */
class Recording {
  readonly #parts: Buffer[] = [];

  /** From now on. Questions (types 4n + 2) change nothing and are left out. */
  start(): void {
    const batch = NetlinkSocket.prototype.batch;
    const note = (bytes: Buffer) => this.#note(Buffer.from(bytes));
    NetlinkSocket.prototype.batch = function (writer) {
      note(writer.acknowledged());
      return batch.call(this, writer);
    };
  }

  #note(bytes: Buffer): void {
    if ((bytes.readUInt16LE(4) & 3) === 2) return;
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    this.#parts.push(length, bytes);
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** The kernel, of which `apply` is timed and what it was given is kept. */
class Watched {
  readonly kernel: Kernel;
  readonly operations: Operation[] = [];
  applyMs = 0;
  /** When the kernel had acknowledged the last message. */
  doneAt = 0;
  cpuMs = 0;

  constructor(kernel: Kernel) {
    const apply: Kernel['apply'] = async (operations) => {
      const startedAt = instant();
      const results = await kernel.apply(operations);
      this.doneAt = instant();
      this.cpuMs = cpuMs();
      this.applyMs += this.doneAt - startedAt;
      this.operations.push(...operations);
      return results;
    };
    this.kernel = new Proxy(kernel, {
      get: (target, name) => {
        if (name === 'apply') return apply;
        const member: unknown = Reflect.get(target, name);
        return typeof member === 'function' ? member.bind(target) : member;
      },
    });
  }
}

/** Of this process so far, in the kernel too. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** As iproute2 has it, each for the program that takes it. */
function asText({ object }: Operation): { readonly to: 'ip' | 'bridge'; readonly line: string } {
  switch (object.kind) {
    case 'neighbour':
      return {
        to: 'ip',
        line: `neigh replace ${object.ip} lladdr ${object.mac} dev ${object.dev} nud permanent proto 84`,
      };
    case 'fdb':
      return { to: 'bridge', line: `fdb replace ${object.mac} dev ${object.dev} dst ${object.dst} self permanent` };
    case 'nexthop':
      return {
        to: 'ip',
        line: `nexthop replace id ${object.id} via ${object.gateway} dev ${object.dev} onlink proto 84`,
      };
    case 'route': {
      const by =
        object.nexthopId === undefined ? `via ${object.gateway} dev ${object.dev} onlink` : `nhid ${object.nexthopId}`;
      return { to: 'ip', line: `route replace ${object.dst} ${by} proto 84` };
    }
    case 'link':
    case 'address':
      throw new Error(`the device is there: ${object.kind} should not be changed`);
  }
}

function leave(where: string, messages: Buffer, operations: readonly Operation[]): void {
  writeFileSync(join(where, 'messages'), messages);
  for (const to of ['ip', 'bridge']) {
    const lines = operations.map(asText).filter((one) => one.to === to);
    writeFileSync(join(where, `${to}.batch`), lines.map(({ line }) => `${line}\n`).join(''));
  }
}

const stop = new AbortController();
const changes = arrivals(Number(peers));
const recording = new Recording();
const watched = new Watched(await openKernel(silentLog));
const reconciler = await startReconciler(watched.kernel, way === 'objects', stop.signal);
if (directory !== undefined) recording.start();
const [startedAt, cpuBefore] = [instant(), cpuMs()];
reconciler.update(changes, true);
await inStep(reconciler);
if (directory !== undefined) leave(directory, recording.bytes, watched.operations);
const allMs = watched.doneAt - startedAt;
tell('programmed', { allMs, applyMs: watched.applyMs, cpuMs: watched.cpuMs - cpuBefore });
stop.abort();
watched.kernel.close();

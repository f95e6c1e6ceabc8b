import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { openKernel } from '../../backends/kernel/linux-kernel.ts';
import { lockFile } from '../../backends/kernel/syscalls.ts';
import { TartanError, toError } from '../../config/errors.ts';
import type { Invocation } from '../../config/invocation.ts';
import { silentLog } from '../../config/log.ts';
import type { Options } from '../../config/options.ts';
import { decodeLease } from '../../leases/codec.ts';
import type { StoredLease } from '../../leases/lease.ts';
import { releaseLeases } from '../../leases/release.ts';
import { openStore } from '../etcd-connection.ts';
import { publishedFiles } from '../publisher.ts';
import type { AgentMemory } from '../state-file.ts';
import { loadMemory, saveMemory } from '../state-file.ts';
import type { StateLock } from '../state-lock.ts';
import { hasOpen, lockPath } from '../state-lock.ts';
import { removeSocket } from '../status-socket.ts';
import { clearKernel, removeFiles } from '../withdrawal.ts';

const STOP_WITHIN_MS = 10_000;
const POLL_MS = 50;

const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** Stops a running agent and holds its lock, so that no other one starts meanwhile. Rejects with ALREADY_RUNNING. */
async function takeLock(stateDir: string): Promise<StateLock> {
  const path = lockPath(stateDir);
  const deadline = Date.now() + STOP_WITHIN_MS;
  let stopped: number | undefined;
  for (;;) {
    const lock = lockFile(path);
    if ('release' in lock) {
      if (stopped) say(`stopped the agent (pid ${stopped}); if a supervisor runs it, stop it there or it comes back`);
      return lock;
    }
    if (lock.heldBy !== undefined && stopped === undefined) {
      await stop(lock.heldBy, path);
      stopped = lock.heldBy;
    }
    if (Date.now() > deadline) {
      const who = `pid ${lock.heldBy ?? 'unknown'}`;
      throw new TartanError(
        'ALREADY_RUNNING',
        `the agent of ${stateDir} does not end (${who}); stop it, then try again`,
      );
    }
    await sleep(POLL_MS);
  }
}

async function stop(pid: number, lock: string): Promise<void> {
  if (!(await hasOpen(pid, lock))) {
    const message = `an agent holds ${lock}, and is not pid ${pid} as seen from here (does it run in a container, or as another user?); stop it there, then try again`;
    throw new TartanError('ALREADY_RUNNING', message, { data: { pid } });
  }
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    // It ended by itself; the lock tells.
  }
}

async function clear(memory: AgentMemory): Promise<void> {
  const kernel = await openKernel(silentLog);
  try {
    const done = await clearKernel(kernel, memory);
    say(done.length > 0 ? `removed ${done.length} kernel objects` : 'the kernel holds nothing of ours');
  } finally {
    kernel.close();
  }
}

async function release(options: Options, memory: AgentMemory): Promise<void> {
  const store = await openStore(options);
  try {
    const { released, kept } = await releaseLeases(store, options.etcdPrefix, memory.claim);
    for (const { subnet } of released) say(`released the lease of ${subnet}`);
    for (const { subnet } of kept) say(`kept the reservation of ${subnet}: an operator made it`);
    if (released.length + kept.length === 0) say('this host holds no lease');
  } finally {
    await store.close();
  }
  await saveMemory(options.stateDir, { ...memory, held: undefined });
}

/**
 * Rejects with LEASE_TAKEN_OVER where a flanneld on this host has our lease now: device and routes are its own. It may
 * have come while no agent of ours ran. With etcd away nobody can tell, and going down must be possible all the same.
 */
async function refuseFlannelds(options: Options, { held }: AgentMemory): Promise<void> {
  if (!held) return;
  const lease = await leaseAt(options, held.key);
  if (!lease || lease.owner || lease.publicIp !== held.publicIp) return;
  const message = `a flanneld on this host (${lease.publicIp}) holds the lease ${lease.key} now, and its network with it; to take that down all the same: tartan down --force`;
  throw new TartanError('LEASE_TAKEN_OVER', message);
}

/** The lease in etcd; undefined where there is none or etcd does not tell. */
async function leaseAt(options: Options, key: string): Promise<StoredLease | undefined> {
  const store = await openStore(options).catch(() => undefined);
  try {
    const kv = (await store?.get(key))?.kv;
    const decoded = kv && decodeLease(options.etcdPrefix, kv);
    return decoded?.ok ? decoded.lease : undefined;
  } catch {
    return undefined;
  } finally {
    await store?.close();
  }
}

async function takeDown(options: Options): Promise<void> {
  const { memory, problem } = await loadMemory(options.stateDir);
  if (!options.force) await refuseFlannelds(options, memory);
  if (problem) say(`the state file of ${options.stateDir} is damaged (${problem}): not all that was made may be known`);
  // What the kernel refuses keeps nobody from the rest; it is told in the end.
  const kernel = await clear(memory).then(() => undefined, toError);
  for (const file of await removeFiles(problem ? publishedFiles(options) : memory.files)) say(`removed ${file}`);
  await removeSocket(options.statusSocket);
  if (options.release) await release(options, memory);
  else if (memory.held) say(`the lease of ${memory.held.subnet} stays until it runs out; --release gives it back`);
  if (kernel) throw kernel;
}

/** `tartan down [--release] [--force]`: takes away what tartan made on this host. Doing it twice is as good as once. */
export async function down({ options }: Invocation): Promise<number> {
  if (!existsSync(options.stateDir)) {
    say(`there is no state directory ${options.stateDir}: no agent of this --etcd-prefix or --state-dir ran here`);
    return 0;
  }
  const lock = await takeLock(options.stateDir);
  try {
    await takeDown(options);
    return 0;
  } finally {
    lock.release();
  }
}

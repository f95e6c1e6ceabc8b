/**
 * Runs beside etcd: puts peers into it, each with an etcd lease of its own, as hosts do.
 *
 *     node committer.js ENDPOINT load FIRST COUNT          as fast as it goes
 *     node committer.js ENDPOINT change FIRST COUNT        one at a time, and says when
 *     node committer.js ENDPOINT burst FIRST COUNT         as fast as it goes, all on one lease, and says when
 *     node committer.js ENDPOINT revoke LEASE              ends that lease, and says when
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { peerLease, peerSubnet } from '../support/peers.ts';
import { comeFirst, instant, tell } from './instant.ts';

const LEASE_SECONDS = 86_400;
const WRITERS = 64;
/** Between two changes: whoever follows them has gone to sleep again. */
const PAUSE_MS = 20;
/** Until the writer's own code is compiled: else it reads etcd's answer later than an agent acts on the event. */
const WARM_UP_PUTS = 1000;

const [endpoint = '', mode = '', subject = '', count = ''] = process.argv.slice(2);
const etcd = new Etcd3({ hosts: endpoint });
const indices = Array.from({ length: Number(count) }, (_, i) => Number(subject) + i);

async function grant(): Promise<string> {
  return (await etcd.leaseClient.leaseGrant({ TTL: LEASE_SECONDS })).ID;
}

async function put(index: number, lease: string): Promise<void> {
  const { key, value } = peerLease(index);
  await etcd.put(key).value(value).lease(lease);
}

/** As many at a time as there are writers. */
async function each(work: (index: number) => Promise<void>): Promise<void> {
  const rest = indices.values();
  const writer = async () => {
    for (const index of rest) await work(index);
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
}

async function load(): Promise<void> {
  await each(async (index) => put(index, await grant()));
}

async function warmUp(): Promise<void> {
  for (let i = 0; i < WARM_UP_PUTS; i++) await etcd.put('/tartan-bench/warm-up').value(String(i));
}

async function change(): Promise<void> {
  comeFirst();
  await warmUp();
  const puts: object[] = [];
  for (const index of indices) {
    const lease = await grant();
    await sleep(PAUSE_MS);
    const sentAt = instant();
    await put(index, lease);
    puts.push({ dst: peerSubnet(index), sentAt, answeredAt: instant() });
  }
  tell('put', { puts });
}

async function burst(): Promise<void> {
  await warmUp();
  const lease = await grant();
  await sleep(PAUSE_MS);
  const sentAt = instant();
  await each((index) => put(index, lease));
  tell('burst', { lease, sentAt, answeredAt: instant() });
}

async function revoke(): Promise<void> {
  await etcd.put('/tartan-bench/warm-up').value('');
  await sleep(PAUSE_MS);
  const sentAt = instant();
  await etcd.leaseClient.leaseRevoke({ ID: subject });
  tell('revoked', { sentAt, answeredAt: instant() });
}

const MODES: Readonly<Record<string, () => Promise<void>>> = { load, change, burst, revoke };

await MODES[mode]?.();
etcd.close();

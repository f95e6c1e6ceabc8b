/**
 * One agent through 10,000 changes of leases: peers come, go and change their MAC, in batches, by a real etcd into a real
 * kernel. What it holds afterwards is what it held before: heap, descriptors, watches.
 */
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { readStatus } from '../../agent/status-socket.ts';
import { type Agent, PREFIX, startAgent, subnetOf, TARTAN } from '../support/agent.ts';
import { eventually } from '../support/eventually.ts';
import type { Host } from '../support/host.ts';
import { createLab, type Lab } from '../support/hosts.ts';
import { LARGE_NETWORK, REAL_HOSTS_FROM } from '../support/peers.ts';
import { CHANGES, setPeers } from '../support/phantom-peers.ts';
import type { LabProcess } from '../support/process.ts';
import { needs } from '../support/require.ts';
import { GAUGE_SOCKET, type Gauged } from './gauge.ts';

const GAUGE = fileURLToPath(new URL('gauge.js', import.meta.url));
const [NODE, ...MAIN] = TARTAN;
const gauged: Agent = { name: 'tartan', argv: [NODE, '--expose-gc', '--import', GAUGE, ...MAIN, 'run'] };

const SOAK = 10_000;
/** Until every path has run often enough to be compiled. */
const WARM_UP = 4_000;
const GROWTH = 0.05;

interface Measured extends Gauged {
  readonly descriptors: number;
  readonly watches: number;
}

async function heapOf(host: Host): Promise<Gauged> {
  return JSON.parse(await text(connect(host.path(GAUGE_SOCKET))));
}

/** Watches that etcd serves. */
async function watchesOf({ etcd, switch: wires }: Lab): Promise<number> {
  const script = 'fetch(process.argv[1]).then(async (r) => console.log(await r.text()))';
  const metrics = await wires.run(process.execPath, ['-e', script, `${etcd.endpoint}/metrics`]);
  return Number(/^etcd_debugging_mvcc_watcher_total (\d+)/m.exec(metrics)?.[1]);
}

/** At rest: who is asking for the status just now holds one, too. */
async function descriptorsOf({ pid }: LabProcess): Promise<number> {
  const counts: number[] = [];
  for (let look = 0; look < 20; look++) {
    counts.push((await readdir(`/proc/${pid}/fd`)).length);
    await sleep(25);
  }
  return Math.min(...counts);
}

async function measure(lab: Lab, agent: LabProcess): Promise<Measured> {
  const heap = await heapOf(lab.host(1));
  return { ...heap, descriptors: await descriptorsOf(agent), watches: await watchesOf(lab) };
}

/** Batches until so many leases have changed; each is waited for. Ends where it began. */
async function change(lab: Lab, agent: LabProcess, changes: number): Promise<void> {
  const batches = 2 * Math.ceil(changes / CHANGES / 2);
  for (let number = 1; number <= batches; number++) {
    const peers = await setPeers(lab, number);
    await eventually(
      `${peers} peers are in step`,
      async () => {
        const status = await readStatus(lab.host(1).path('/run/flannel/subnet.sock'));
        return status.inStep && status.peers.length === peers;
      },
      { everyMs: 10, context: () => agent.tail() },
    );
  }
}

function inWords({ heapBytes, externalBytes, descriptors, watches }: Measured): string {
  const megabytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(2);
  return `heap ${megabytes(heapBytes)} MB, external ${megabytes(externalBytes)} MB, ${descriptors} descriptors, ${watches} watches`;
}

test('10,000 changes of leases leave heap, descriptors and watches as they were', async (t) => {
  if (!needs(t, 'lab')) return;
  t.timeout(300_000);
  const lab = await createLab({ hosts: 1 });
  t.teardown(() => lab.destroy());
  await lab.etcd.put(
    `${PREFIX}/config`,
    JSON.stringify({ Network: LARGE_NETWORK, SubnetMin: REAL_HOSTS_FROM, SubnetLen: 24, Backend: { Type: 'vxlan' } }),
  );
  const agent = startAgent(lab, lab.host(1), gauged, ['--log-format=human']);
  await subnetOf(lab.host(1), agent);
  await setPeers(lab, 0);
  await change(lab, agent, WARM_UP);
  const before = await measure(lab, agent);
  await change(lab, agent, SOAK);
  const after = await measure(lab, agent);
  const growth = after.heapBytes / before.heapBytes - 1;
  t.log(`after ${WARM_UP.toLocaleString('en')} changes: ${inWords(before)}`);
  t.log(`after ${SOAK.toLocaleString('en')} more:    ${inWords(after)}`);
  t.true(growth < GROWTH, `the heap has grown by ${(100 * growth).toFixed(1)} %`);
  t.is(after.descriptors, before.descriptors);
  t.is(after.watches, before.watches);
  t.true(agent.running);
});

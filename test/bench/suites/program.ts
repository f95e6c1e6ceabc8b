import type { Host } from '../../support/host.ts';
import { createLab } from '../../support/hosts.ts';
import { inRepository } from '../../support/repository.ts';
import { missing } from '../../support/require.ts';
import type { Programmed, Sent } from '../instant.ts';
import { isEvent, LIMIT_MS, launch } from '../programs.ts';
import { DEVICE, MAKE_DEVICE } from '../rig.ts';
import { Notebook } from '../statistics.ts';
import type { Plan, Suite } from '../suite.ts';

const PEERS = { reduced: [1000], usual: [1000], full: [1000, 10_000] } as const;
const WAYS = { objects: 'nexthop objects', plain: 'plain routes' } as const;
const C = 'C sender';
const IP = 'ip, bridge -batch';

/** What our programmer left for the others. */
const DIRECTORY = '/run/recorded';
const SENDER = '/run/sender';
const BATCHES = `
set -e
before=$(date +%s%N)
bridge -batch ${DIRECTORY}/bridge.batch
ip -batch ${DIRECTORY}/ip.batch
after=$(date +%s%N)
echo $((after - before))`;

class Bed {
  readonly #host: Host;
  readonly #way: keyof typeof WAYS;
  readonly #peers: number;

  constructor(host: Host, way: keyof typeof WAYS, peers: number) {
    this.#host = host;
    this.#way = way;
    this.#peers = peers;
  }

  /** A host that has the device and nothing on it, for as long as `work` lasts; then all is there. */
  async #onDevice<T>(work: () => Promise<T>): Promise<T> {
    await this.#host.configure(...MAKE_DEVICE);
    const result = await work();
    const routes = await this.#host.run('ip', ['-4', 'route', 'show', 'dev', DEVICE]);
    const count = routes.split('\n').filter((line) => line !== '').length;
    if (count !== this.#peers) throw new Error(`${count} routes instead of ${this.#peers}`);
    await this.#host.configure(`link del ${DEVICE}`);
    return result;
  }

  ours(directory: readonly string[] = []): Promise<Programmed> {
    return this.#onDevice(async () => {
      const programmer = launch(this.#host, 'programmer.js', [this.#way, String(this.#peers), ...directory]);
      const line = await programmer.until((line) => isEvent(line, 'programmed'), LIMIT_MS);
      await programmer.exited;
      const programmed: Programmed = JSON.parse(line);
      return programmed;
    });
  }

  async record(): Promise<void> {
    await this.#host.run('mkdir', ['-p', DIRECTORY]);
    await this.ours([DIRECTORY]);
  }

  sender(): Promise<Sent> {
    return this.#onDevice(async () => {
      const sent: Sent = JSON.parse(await this.#host.run(SENDER, [`${DIRECTORY}/messages`]));
      if (sent.refusals > 0) throw new Error(`the kernel refused ${sent.refusals} of ${sent.messages} messages`);
      return sent;
    });
  }

  batches(): Promise<number> {
    return this.#onDevice(async () => Number(await this.#host.run('sh', ['-c', BATCHES])) / 1e6);
  }
}

async function measure(host: Host, plan: Plan, notes: Notebook, way: keyof typeof WAYS, peers: number): Promise<void> {
  const bed = new Bed(host, way, peers);
  await bed.record();
  const label = `${WAYS[way]}, ${peers.toLocaleString('en')} peers`;
  for (let run = 0; run < plan.runs; run++) {
    plan.say(`program: ${label}, run ${run + 1} of ${plan.runs}`);
    const ours = await bed.ours();
    const sent = await bed.sender();
    notes.add(label, 'ms', 'tartan', ours.allMs);
    notes.add(label, 'ms', C, sent.ms);
    notes.add(label, 'ms', IP, await bed.batches());
    notes.add(`of that to the kernel and back, ${label}`, 'ms', 'tartan', ours.applyMs);
    notes.add(`of that to the kernel and back, ${label}`, 'ms', C, sent.ms);
    notes.add(`on a processor, ${label}`, 'ms', 'tartan', ours.cpuMs);
    notes.add(`on a processor, ${label}`, 'ms', C, sent.cpuMs);
  }
  for (const figure of [label, `on a processor, ${label}`]) notes.aim(figure, 1.3, C);
}

export const program: Suite = {
  name: 'program',
  title:
    'programming alone: the reconciler is told of peers → all in the kernel; the same messages, sent by a C program',
  run: async (plan) => {
    const lacks = missing('cc', 'lab');
    if (lacks.length > 0) throw new Error(`it needs ${lacks.join('; ')}`);
    const lab = await createLab({ hosts: 1, etcd: false });
    try {
      const notes = new Notebook();
      const host = lab.host(1);
      await host.run('cc', ['-O2', '-o', SENDER, inRepository('test/bench/sender.c')]);
      for (const peers of PEERS[plan.size])
        for (const way of ['objects', 'plain'] as const) await measure(host, plan, notes, way, peers);
      return notes.figures;
    } finally {
      lab.destroy();
    }
  },
};

import { createLab } from '../../support/hosts.ts';
import type { Resynced } from '../instant.ts';
import { isEvent, LIMIT_MS, launch } from '../programs.ts';
import { DEVICE, MAKE_DEVICE } from '../rig.ts';
import { Notebook } from '../statistics.ts';
import type { Suite } from '../suite.ts';

const PEERS = { reduced: [1000], usual: [1000], full: [1000, 10_000] } as const;

export const resync: Suite = {
  name: 'resync',
  title: 'a look at everything that finds nothing amiss: time of the event loop, and the longest time in one go',
  run: async (plan) => {
    const lab = await createLab({ hosts: 1, etcd: false });
    try {
      const notes = new Notebook();
      const host = lab.host(1);
      for (const peers of PEERS[plan.size]) {
        const label = `${peers.toLocaleString('en')} peers`;
        for (let run = 0; run < plan.runs; run++) {
          plan.say(`resync: ${label}, run ${run + 1} of ${plan.runs}`);
          await host.configure(...MAKE_DEVICE);
          const resyncer = launch(host, 'resyncer.js', [String(peers)]);
          const told: Resynced = JSON.parse(await resyncer.until((line) => isEvent(line, 'resynced'), LIMIT_MS));
          await resyncer.exited;
          await host.configure(`link del ${DEVICE}`);
          notes.add(`event loop, ${label}`, 'ms', 'tartan', told.activeMs);
          notes.add(`on a processor, ${label}`, 'ms', 'tartan', told.cpuMs);
          notes.add(`longest slice, ${label}`, 'ms', 'tartan', told.longestMs);
        }
        notes.aim(`event loop, ${label}`, 50);
        notes.aim(`longest slice, ${label}`, 10);
      }
      return notes.figures;
    } finally {
      lab.destroy();
    }
  },
};

import test from 'ava';
import fc from 'fast-check';
import type { Identity } from './host.ts';
import { Model } from './model.ts';
import { holds, RUNS } from './replay.ts';

const CONFIG = '{"Network":"10.5.0.0/23","SubnetLen":26}';
const DEEDS = ['renumber', 'renumber', 'crash', 'start', 'cut', 'heal', 'delete', 'revoke'] as const;

const deed = fc.record({
  what: fc.constantFrom(...DEEDS),
  who: fc.nat(3),
  address: fc.nat(5),
  waitMs: fc.oneof(fc.nat(100), fc.nat(100), fc.nat(5_000), fc.nat(60_000)),
});
const hosts: readonly Identity[] = [0, 1, 2, 3].map((n) => ({ publicIp: `192.0.2.${n}`, node: `n${n}` }));

test('hosts get other addresses, also those of others: no two leases have one, and in the end each has its own', async (t) => {
  t.timeout(60_000 + RUNS * 5_000);
  const property = fc.asyncProperty(
    fc.array(deed, { minLength: 5, maxLength: 40 }),
    fc.nat(1_000_000),
    async (deeds, seed) => {
      const model = new Model(hosts, [CONFIG], seed);
      try {
        for (const host of model.hosts) host.start();
        await model.time.advance(10_000);
        for (const { what, who, address, waitMs } of deeds) {
          const host = model.hosts[who];
          await model.time.advance(waitMs);
          if (what === 'renumber') host?.renumber(`192.0.2.${address}`);
          else if (what === 'crash') host?.crash();
          else if (what === 'start') host?.start();
          else if (what === 'cut' && host) host.line.server.reachable = false;
          else if (what === 'heal' && host) host.line.server.reachable = true;
          else if (what === 'delete' && host?.held) model.etcd.delete(host.held.key);
          else if (what === 'revoke' && host?.held) model.etcd.revoke(host.held.etcdLease);
        }
        for (const [i, host] of model.hosts.entries()) {
          host.line.server.reachable = true;
          host.renumber(`192.0.2.${i + 10}`);
          host.start();
        }
        await model.time.advance(180_000);
        const has = model.hosts.map(({ isHolding, held }) => (isHolding ? held?.attributes.publicIp : 'nothing'));
        const isOwn = has.every((publicIp, i) => publicIp === `192.0.2.${i + 10}`);
        const report = [...model.truth.violations.slice(0, 3), has.join(', ')].join('\n');
        if (model.truth.violations.length > 0 || !isOwn) throw new Error(report);
      } finally {
        model.end();
      }
    },
  );
  await holds(property, 'model/renumbering');
  t.pass();
});

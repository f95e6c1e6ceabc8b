import test from 'ava';
import fc from 'fast-check';
import { History, type Identity } from './histories.ts';

/** CI runs few; `TARTAN_RUNS=1000` looks longer. */
const RUNS = Number(process.env['TARTAN_RUNS'] ?? 40);
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
  t.timeout(600_000);
  const property = fc.asyncProperty(
    fc.array(deed, { minLength: 5, maxLength: 40 }),
    fc.nat(1_000_000),
    async (deeds, seed) => {
      const history = new History(hosts, CONFIG, 30, seed);
      try {
        for (const agent of history.agents) agent.start();
        await history.clock.advance(10_000);
        for (const { what, who, address, waitMs } of deeds) {
          const agent = history.agents[who];
          await history.clock.advance(waitMs);
          if (what === 'renumber') agent?.renumber(`192.0.2.${address}`);
          else if (what === 'crash') agent?.crash();
          else if (what === 'start') agent?.start();
          else if (what === 'cut' && agent) agent.store.reachable = false;
          else if (what === 'heal' && agent) agent.store.reachable = true;
          else if (what === 'delete' && agent?.held) history.etcd.delete(agent.held.key);
          else if (what === 'revoke' && agent?.held) history.etcd.revoke(agent.held.etcdLease);
        }
        for (const [i, agent] of history.agents.entries()) {
          agent.store.reachable = true;
          agent.renumber(`192.0.2.${i + 10}`);
          agent.start();
        }
        await history.clock.advance(180_000);
        const has = history.agents.map(({ isHolding, held }) => (isHolding ? held?.attributes.publicIp : 'nothing'));
        const isOwn = has.every((publicIp, i) => publicIp === `192.0.2.${i + 10}`);
        const report = [...history.violations.slice(0, 3), has.join(', ')].join('\n');
        if (history.violations.length > 0 || !isOwn) throw new Error(report);
      } finally {
        history.end();
      }
    },
  );
  const details = await fc.check(property, { numRuns: RUNS });
  if (details.failed) throw new Error(`${details.errorInstance}\n${fc.defaultReportMessage(details)}`);
  t.pass();
});

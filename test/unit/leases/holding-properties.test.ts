import test from 'ava';
import fc from 'fast-check';
import { History, type Identity } from './histories.ts';
import { KEYS } from './world.ts';

/** With the failing history's own words, and the seed that replays it. */
async function holds<T>(property: fc.IAsyncProperty<T>): Promise<void> {
  const details = await fc.check(property, { numRuns: RUNS });
  if (details.failed) throw new Error(`${details.errorInstance}\n${fc.defaultReportMessage(details)}`);
}

/** CI runs few; `TARTAN_RUNS=1000` looks longer. */
const RUNS = Number(process.env['TARTAN_RUNS'] ?? 40);

const CONFIGS = {
  ipv4: ['{"Network":"10.5.0.0/23","SubnetLen":26}', '{"Network":"10.5.0.0/23","SubnetLen":27}'],
  dual: [26, 27].map((length) =>
    JSON.stringify({
      ...{ Network: '10.5.0.0/23', SubnetLen: length, EnableIPv6: true },
      ...{ IPv6Network: 'fd00:5::/60', IPv6SubnetLen: length === 26 ? 64 : 63 },
    }),
  ),
} as const;

const DEEDS = ['start', 'crash', 'reinstall', 'cut', 'heal', 'delete', 'revoke', 'config', 'compact', 'wait'] as const;

const deed = fc.record({
  what: fc.constantFrom(...DEEDS, 'start', 'wait', 'heal'),
  who: fc.nat(4),
  /** What passes before: often little, so that the deed falls between two calls. */
  waitMs: fc.oneof(fc.nat(100), fc.nat(100), fc.nat(5_000), fc.nat(60_000)),
});

/** Five hosts; some have one address, some one machine-id. */
const identities: readonly Identity[] = [
  { publicIp: '192.0.2.1', node: 'n1' },
  { publicIp: '192.0.2.2', node: 'n2' },
  { publicIp: '192.0.2.1', node: 'n3' },
  { publicIp: '192.0.2.4', node: 'n2' },
  { publicIp: '192.0.2.5', node: 'n5' },
];

async function act(
  history: History,
  family: keyof typeof CONFIGS,
  one: typeof deed extends fc.Arbitrary<infer T> ? T : never,
) {
  const agent = history.agents[one.who];
  await history.clock.advance(one.waitMs);
  if (!agent) return;
  if (one.what === 'start') agent.start();
  else if (one.what === 'crash') agent.crash();
  else if (one.what === 'reinstall') agent.reinstall();
  else if (one.what === 'cut') agent.store.reachable = false;
  else if (one.what === 'heal') agent.store.reachable = true;
  else if (one.what === 'delete' && agent.held) history.etcd.delete(agent.held.key);
  else if (one.what === 'revoke' && agent.held) history.etcd.revoke(agent.held.etcdLease);
  else if (one.what === 'config') history.etcd.put(KEYS.config, CONFIGS[family][one.who % 2] ?? '');
  else if (one.what === 'compact') history.etcd.compact();
}

for (const family of ['ipv4', 'dual'] as const) {
  test(`${family}: whatever happens, no two hosts hold one subnet, address or node; in the end all hold who can`, async (t) => {
    t.timeout(600_000);
    await holds(
      fc.asyncProperty(fc.array(deed, { minLength: 5, maxLength: 40 }), fc.nat(1_000_000), async (deeds, seed) => {
        const history = new History(identities, CONFIGS[family][0] ?? '', 30, seed);
        try {
          for (const one of deeds) await act(history, family, one);
          for (const agent of history.agents) {
            agent.store.reachable = true;
            agent.start();
          }
          await history.clock.advance(180_000);
          const holding = history.agents.filter(({ isHolding }) => isHolding);
          const state = history.agents.map(
            ({ outcome, isHolding }) => `${outcome}${isHolding ? '' : ' (not holding)'}`,
          );
          const report = [...history.violations.slice(0, 3), state.join(', ')].join('\n');
          // Of the hosts 0 and 2 one can hold, of 1 and 3 one.
          if (history.violations.length > 0 || holding.length !== 3) throw new Error(report);
        } finally {
          history.end();
        }
      }),
    );
    t.pass();
  });
}

test('a restored store: who held a lease has it again, newcomers come after them, and nothing overlaps', async (t) => {
  t.timeout(600_000);
  const hosts = Array.from({ length: 6 }, (_, i) => ({ publicIp: `192.0.2.${i + 1}`, node: `n${i}` }));
  const events = fc.array(fc.record({ who: fc.nat(4), waitMs: fc.nat(60_000), backup: fc.boolean() }), {
    maxLength: 12,
  });
  await holds(
    fc.asyncProperty(events, fc.boolean(), fc.nat(1_000_000), async (changes, wiped, seed) => {
      const history = new History(hosts, CONFIGS.ipv4[0] ?? '', 30, seed);
      try {
        let backup = history.etcd.backup();
        for (const { who, waitMs, backup: now } of changes) {
          const agent = history.agents[who];
          if (agent?.held) agent.crash();
          else agent?.start();
          await history.clock.advance(waitMs);
          if (now) backup = history.etcd.backup();
        }
        await history.clock.advance(10_000);
        const before = history.agents.map(({ held }) => held?.key);
        const config = history.etcd.kvs.filter(({ key }) => key === KEYS.config);
        history.etcd.restore(wiped ? { clusterId: '4711', kvs: config, revision: 100 } : backup);
        // Who never saw the store before learns from those who did, as soon as they are back.
        await history.clock.advance(1_000);
        history.agents[5]?.start();
        await history.clock.advance(120_000);
        const after = history.agents.map(({ held, isHolding }) => (isHolding ? held?.key : undefined));
        const lost = before.filter((key, i) => key !== undefined && key !== after[i]);
        const losses = history.agents.reduce((sum, agent) => sum + agent.losses, 0);
        const report = { lost, losses, before, after, violations: history.violations.slice(0, 3) };
        if (lost.length + losses + history.violations.length > 0) throw new Error(JSON.stringify(report, null, 1));
        if (after[5] === undefined) throw new Error('the newcomer holds nothing');
      } finally {
        history.end();
      }
    }),
  );
  t.pass();
});

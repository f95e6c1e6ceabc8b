/**
 * Claiming, holding and following, on a virtual clock, through whatever may befall hosts, lines and etcd. Never two
 * leases that overlap or share a host; nobody's subnet changes while it lives; nobody loses a peer that lives, nor lacks
 * one for long; nobody says that it holds what another holds; and in the end all hold who can, and have all others.
 */
import test from 'ava';
import fc from 'fast-check';
import type { Identity } from './host.ts';
import { deeds, Model } from './model.ts';
import { holds, RUNS } from './replay.ts';
import { KEYS } from './truth.ts';

const CONFIGS = {
  ipv4: ['{"Network":"10.5.0.0/23","SubnetLen":26}', '{"Network":"10.5.0.0/23","SubnetLen":27}'],
  dual: [26, 27].map((length) =>
    JSON.stringify({
      ...{ Network: '10.5.0.0/23', SubnetLen: length, EnableIPv6: true },
      ...{ IPv6Network: 'fd00:5::/60', IPv6SubnetLen: length === 26 ? 64 : 63 },
    }),
  ),
} as const;

/** Five hosts; some have one address, some one machine-id. */
const rivals: readonly Identity[] = [
  { publicIp: '192.0.2.1', node: 'n1' },
  { publicIp: '192.0.2.2', node: 'n2' },
  { publicIp: '192.0.2.1', node: 'n3' },
  { publicIp: '192.0.2.4', node: 'n2' },
  { publicIp: '192.0.2.5', node: 'n5' },
];

for (const family of ['ipv4', 'dual'] as const) {
  test(`${family}: faults of every kind`, async (t) => {
    t.timeout(60_000 + RUNS * 5_000);
    await holds(
      fc.asyncProperty(deeds(rivals.length, 'renumber'), fc.nat(1_000_000), async (history, seed) => {
        const model = new Model(rivals, CONFIGS[family], seed);
        try {
          for (const deed of history) await model.act(deed);
          await model.recover();
          const holding = model.hosts.filter(({ isHolding }) => isHolding);
          const state = model.hosts.map(({ outcome, isHolding }) => `${outcome}${isHolding ? '' : ' (not holding)'}`);
          // Of the hosts 0 and 2 one can hold, of 1 and 3 one.
          const { violations } = model.truth;
          if (violations.length > 0 || holding.length !== 3)
            throw new Error([...violations.slice(0, 3), state.join(', ')].join('\n'));
        } finally {
          model.end();
        }
      }),
      'model/histories',
    );
    t.pass();
  });
}

/** Hosts 0 to 3 with the addresses of that number, each with a lease. */
async function fleet(seed: number): Promise<Model> {
  const hosts = [0, 1, 2, 3].map((n) => ({ publicIp: `192.0.2.${n}`, node: `n${n}` }));
  const model = new Model(hosts, [CONFIGS.ipv4[0]], seed);
  for (const host of model.hosts) host.start();
  await model.time.advance(10_000);
  return model;
}

function mustHave(model: Model, addresses: readonly number[]): void {
  const has = model.hosts.map(({ isHolding, held }) => (isHolding ? held?.attributes.publicIp : 'nothing'));
  const { violations } = model.truth;
  if (violations.length > 0 || has.some((publicIp, i) => publicIp !== `192.0.2.${addresses[i]}`))
    throw new Error([...violations.slice(0, 3), has.join(', ')].join('\n'));
}

const permutation = fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 });
/** What passes before each of them gets its address, ms. */
const pauses = fc.array(fc.oneof(fc.constant(0), fc.nat(200), fc.nat(40_000)), { minLength: 4, maxLength: 4 });

test("hosts get other addresses, also those of others; in the end each has its own, or another one's", async (t) => {
  t.timeout(60_000 + RUNS * 5_000);
  const ends = fc.record({ addresses: fc.oneof(fc.constant([10, 11, 12, 13]), permutation), waits: pauses });
  await holds(
    fc.asyncProperty(deeds(4, 'reinstall'), ends, fc.nat(1_000_000), async (history, { addresses, waits }, seed) => {
      const model = await fleet(seed);
      try {
        for (const deed of history) await model.act(deed);
        for (const [i, host] of model.hosts.entries()) {
          await model.time.advance(waits[i] ?? 0);
          host.renumber(`192.0.2.${addresses[i]}`);
        }
        await model.recover();
        mustHave(model, addresses);
      } finally {
        model.end();
      }
    }),
    'model/histories',
  );
  t.pass();
});

test('hosts that live swap their addresses: each keeps its subnet', async (t) => {
  t.timeout(60_000 + RUNS * 5_000);
  const shift = fc.record({ addresses: permutation, waits: pauses, latencyMs: fc.constantFrom(0, 50, 500) });
  await holds(
    fc.asyncProperty(fc.array(shift, { minLength: 1, maxLength: 4 }), fc.nat(1_000_000), async (shifts, seed) => {
      const model = await fleet(seed);
      const before = model.hosts.map(({ held }) => held?.key);
      try {
        for (const { addresses, waits, latencyMs } of shifts) {
          for (const [i, host] of model.hosts.entries()) {
            host.line.turn({ latencyMs });
            await model.time.advance(waits[i] ?? 0);
            host.renumber(`192.0.2.${addresses[i]}`);
          }
        }
        await model.recover();
        mustHave(model, shifts.at(-1)?.addresses ?? []);
        const after = model.hosts.map(({ held }) => held?.key);
        if (String(after) !== String(before)) throw new Error(`${before} became ${after}`);
      } finally {
        model.end();
      }
    }),
    'model/histories',
  );
  t.pass();
});

test('a restored store: who held a lease keeps it, newcomers come after them', async (t) => {
  t.timeout(60_000 + RUNS * 5_000);
  const hosts = Array.from({ length: 6 }, (_, i) => ({ publicIp: `192.0.2.${i + 1}`, node: `n${i}` }));
  const comings = fc.array(fc.record({ who: fc.nat(4), waitMs: fc.nat(60_000), backup: fc.boolean() }), {
    maxLength: 12,
  });
  await holds(
    fc.asyncProperty(comings, fc.boolean(), fc.nat(1_000_000), async (changes, wiped, seed) => {
      const model = new Model(hosts, [CONFIGS.ipv4[0]], seed);
      try {
        for (const { who, waitMs, backup } of changes) {
          const host = model.hosts[who];
          if (host?.held) host.crash();
          else host?.start();
          await model.time.advance(waitMs);
          if (backup) model.backup = model.etcd.backup();
        }
        await model.time.advance(10_000);
        const before = model.hosts.map(({ held }) => held?.key);
        const empty = { kvs: model.etcd.kvs.filter(({ key }) => key === KEYS.config), revision: 100 };
        model.replace(wiped ? empty : model.backup);
        // Who never saw the store before learns from those who did, as soon as they are back.
        await model.time.advance(1_000);
        model.hosts[5]?.start();
        await model.time.advance(120_000);
        const after = model.hosts.map(({ held, isHolding }) => (isHolding ? held?.key : undefined));
        const lost = before.filter((key, i) => key !== undefined && key !== after[i]);
        const losses = model.hosts.reduce((sum, host) => sum + host.losses, 0);
        const report = { lost, losses, before, after, violations: model.truth.violations.slice(0, 3) };
        if (lost.length + losses + report.violations.length > 0) throw new Error(JSON.stringify(report, null, 1));
        if (after[5] === undefined) throw new Error('the newcomer holds nothing');
      } finally {
        model.end();
      }
    }),
    'model/histories',
  );
  t.pass();
});

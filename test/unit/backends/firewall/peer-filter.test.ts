import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { PeerFilter, type PeerFilterWish } from '../../../../backends/firewall/peer-filter.ts';
import { silentLog } from '../../../../config/log.ts';
import { settle, VirtualClock } from '../../../fakes/clock.ts';
import { FakeNft } from './fake-nft.ts';
import { peer } from './peer.ts';

const TWO = peer('two', '10.5.2.0/24', '192.0.2.2');
const GUARD = /^(?:(?:add|delete) element inet tartan-flannel\.1 guarded \{ 8472(?: timeout 60s)? \}\n){3}$/;

class Bench {
  readonly clock = new VirtualClock();
  readonly nft: FakeNft;
  readonly lines: string[] = [];
  readonly filter: PeerFilter;
  readonly #abort = new AbortController();

  /** What the kernel calls; undefined: it tells of no changes. */
  changed: (() => void) | undefined;

  constructor(nft = new FakeNft(), isTold = false) {
    this.nft = nft;
    const log = { ...silentLog, warn: (message: string): void => void this.lines.push(message) };
    const wire = { device: 'flannel.1', family: 4, udpPort: 8472, vni: 1 } as const;
    this.filter = new PeerFilter({
      programs: nft,
      clock: this.clock,
      log,
      ...wire,
      resyncSeconds: 5,
      probe: () => undefined,
      onChange: (listener) => {
        if (isTold) this.changed = listener;
        return isTold ? () => undefined : undefined;
      },
    });
  }

  async start(t: ExecutionContext, wish: PeerFilterWish = { mode: 'enforce' }): Promise<this> {
    const running = this.filter.run(this.#abort.signal).catch(() => undefined);
    t.teardown(async () => {
      this.#abort.abort();
      await running;
    });
    this.filter.set(wish);
    this.filter.setPeers([TWO]);
    await this.rest();
    return this;
  }

  async rest(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await settle();
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 100) {
      await this.clock.advance(100);
      await this.rest();
    }
  }

  get peers(): string[] {
    return [...this.nft.set('peers').keys()];
  }
}

test('the whole table is made at once, and nothing before mode and peers are known', async (t) => {
  const { filter, nft } = new Bench();
  await filter.look();
  filter.set({ mode: 'enforce' });
  await filter.look();
  t.deepEqual(nft.runs, []);
  t.like(filter.state(), { mode: 'enforce', effective: 'off', why: 'not before etcd has told all peers' });
  filter.setPeers([TWO]);
  await filter.look();
  t.is(nft.scripts.length, 1);
  t.is(nft.scripts[0], readFileSync('test/golden/peer-filter/table.nft', 'utf8'));
  t.is(filter.state().effective, 'enforce');
  t.is(filter.problem(), undefined);
});

test('changes are written by element, one process at a time; what comes meanwhile goes into the next', async (t) => {
  const bench = await new Bench().start(t);
  const before = bench.nft.runs.length;
  for (let i = 0; i < 100; i++) {
    bench.filter.update([[`p${i}`, peer(`p${i}`, `10.6.${i}.0/24`, `198.51.100.${i}`)]]);
    if (i % 10 === 0) await settle();
  }
  bench.filter.update([['p99', undefined]]);
  await bench.rest();
  t.is(bench.peers.length, 100);
  t.is(bench.nft.mostAtOnce, 1);
  const runs = bench.nft.runs.slice(before);
  t.true(runs.length <= 11, String(runs.length));
  t.true(
    runs.every((run) => /^(?:(?:add|delete) element inet tartan-flannel\.1 peers \{.*\}\n)+$/.test(run)),
    runs.join(),
  );
});

test('a start with everything right renews the guard alone, and again every twenty seconds', async (t) => {
  const { nft } = await new Bench().start(t);
  nft.runs.length = 0;
  const bench = await new Bench(nft).start(t);
  t.is(nft.scripts.length, 1);
  t.regex(nft.scripts[0] ?? '', GUARD);
  await bench.pass(61_000);
  t.is(nft.scripts.length, 4);
  t.true(nft.scripts.every((script) => GUARD.test(script)));
  t.is(bench.filter.state().repairs, 0);
});

test('adopted from a flanneld: it reports until then, and drops from then on', async (t) => {
  const clock = new VirtualClock();
  const bench = await new Bench().start(t, { mode: 'enforce', reportUntil: clock.now() + 30_000 });
  t.is(bench.filter.state().effective, 'report');
  t.regex(bench.filter.state().why ?? '', /adopted from a flanneld.*00:00:30/);
  t.regex(bench.nft.table?.chains.get('datagrams')?.at(-1) ?? '', /reported"$/);
  for (const years of [-1, 1]) {
    bench.clock.setWall(clock.now() + years * 31_536_000_000);
    await bench.pass(14_000);
    t.is(bench.filter.state().effective, 'report', 'whatever somebody sets the clock to');
  }
  await bench.pass(5_000);
  t.is(bench.filter.state().effective, 'enforce');
  t.is(bench.filter.state().why, undefined);
  t.regex(bench.nft.table?.chains.get('datagrams')?.at(-1) ?? '', /drop$/);
  t.is(bench.filter.state().repairs, 0, 'that was us');
});

test('what others do is put right within five seconds, told, and after five times a minute fought no more', async (t) => {
  const bench = await new Bench().start(t);
  for (const harm of [
    (): unknown => (bench.nft.table = undefined),
    (): unknown => bench.nft.set('peers').clear(),
    (): unknown => bench.nft.set('peers').set('203.0.113.1', 0),
    (): unknown => bench.nft.table?.chains.get('datagrams')?.pop(),
    (): unknown => bench.nft.table?.sets.delete('strangers'),
  ]) {
    harm();
    await bench.pass(5_000);
    t.deepEqual(bench.peers, ['192.0.2.2']);
    t.is(bench.nft.table?.chains.get('datagrams')?.length, 4);
  }
  t.is(bench.filter.state().repairs, 5);
  t.is(bench.lines.length, 5);
  t.is(bench.filter.problem(), undefined);
  const problems = new Set<string | undefined>();
  for (let passed = 0; passed < 60_000; passed += 100) {
    bench.nft.table = undefined;
    await bench.pass(100);
    problems.add(bench.filter.problem()?.replace(/.*: /, ''));
  }
  t.true(problems.has('it was deleted'), [...problems].join());
  t.true(bench.filter.state().repairs < 20, String(bench.filter.state().repairs));
  await bench.pass(60_000);
  t.is(bench.filter.problem(), undefined);
  t.deepEqual(bench.peers, ['192.0.2.2']);
});

test('the guard is back when somebody took it away', async (t) => {
  const bench = await new Bench().start(t);
  bench.nft.set('guarded').clear();
  await bench.pass(5_000);
  t.deepEqual([...bench.nft.set('guarded').keys()], ['8472']);
});

test('rules that another nft prints otherwise are no change', async (t) => {
  const nft = new FakeNft();
  const run = nft.run.bind(nft);
  nft.run = async (...args) => {
    const outcome = await run(...args);
    return outcome && { ...outcome, stdout: outcome.stdout.replaceAll('priority filter', 'priority 0') };
  };
  const bench = await new Bench(nft).start(t);
  await bench.pass(30_000);
  t.is(bench.filter.state().repairs, 0);
  const later = await new Bench(nft).start(t);
  nft.runs.length = 0;
  await later.pass(19_000);
  t.is(nft.scripts.length, 0);
});

test('what is refused is tried again, seldom, and as a whole', async (t) => {
  const bench = await new Bench().start(t);
  bench.nft.refusal = 'Error: Could not process rule: Operation not supported';
  bench.filter.update([['p', peer('p', '10.6.0.0/24', '198.51.100.1')]]);
  await bench.pass(60_000);
  t.regex(bench.filter.problem() ?? '', /Operation not supported; `--peer-filter=off` goes without it/);
  t.is(bench.filter.state().effective, 'off');
  t.true(bench.nft.scripts.length < 20, String(bench.nft.scripts.length));
  t.is(bench.lines.length, 1);
  bench.nft.refusal = undefined;
  await bench.pass(40_000);
  t.is(bench.filter.problem(), undefined);
  t.deepEqual(bench.peers, ['192.0.2.2', '198.51.100.1']);
});

test('no nft: said, and looked for seldom; it is used when it comes', async (t) => {
  const nft = new FakeNft();
  nft.isInstalled = false;
  const bench = await new Bench(nft).start(t);
  await bench.pass(60_000);
  t.true(nft.runs.length < 25, String(nft.runs.length));
  t.regex(bench.filter.state().why ?? '', /no nft.*install nftables/);
  t.is(bench.filter.problem(), undefined, 'a host may do without');
  nft.isInstalled = true;
  await bench.pass(5_000);
  t.is(bench.filter.problem(), undefined);
  t.deepEqual(bench.peers, ['192.0.2.2']);
});

test('with thousands of peers the whole table is read seldom, a table that is gone is found as soon', async (t) => {
  const bench = await new Bench().start(t);
  const crowd = Array.from({ length: 5_000 }, (_, i) => {
    const at = `${Math.floor(i / 250)}.${i % 250}`;
    return peer(`p${i}`, `10.6.${at}/32`, `198.18.${at}`);
  });
  bench.filter.setPeers([TWO, ...crowd]);
  await bench.pass(20_000);
  bench.nft.runs.length = 0;
  await bench.pass(60_000);
  t.true(bench.nft.runs.filter((run) => run === 'list table').length <= 3);
  bench.nft.table = undefined;
  await bench.pass(4_200);
  t.is(bench.peers.length, 5_001);
});

test('off takes the table away, once, and asks nothing more', async (t) => {
  const bench = await new Bench().start(t);
  bench.filter.set({ mode: 'off' });
  await bench.rest();
  t.is(bench.nft.table, undefined);
  bench.nft.runs.length = 0;
  await bench.pass(60_000);
  t.deepEqual(bench.nft.runs, []);
  t.is(bench.filter.problem(), undefined);
  bench.filter.set({ mode: 'report' });
  await bench.rest();
  t.is(bench.filter.state().effective, 'report');
});

test('where the kernel tells of changes it is looked at seldom, and soon after one that was not ours', async (t) => {
  const bench = await new Bench(new FakeNft(), true).start(t);
  const { nft } = bench;
  // The table itself: told after it was made.
  bench.changed?.();
  await bench.pass(5_000);
  const looks = (): number => nft.runs.filter((run) => run.startsWith('list')).length;
  const before = looks();
  await bench.pass(4_000);
  t.true(looks() - before <= 1, String(looks() - before));
  nft.set('peers').clear();
  bench.changed?.();
  await bench.pass(100);
  t.deepEqual(bench.peers, ['192.0.2.2']);
  t.is(bench.filter.state().repairs, 1);
});

test("a change of ours that the kernel never told hides another's no longer than until the next look", async (t) => {
  const bench = await new Bench(new FakeNft(), true).start(t);
  await bench.pass(32_000);
  bench.nft.set('peers').clear();
  bench.changed?.();
  await bench.pass(1_000);
  t.deepEqual(bench.peers, ['192.0.2.2']);
});

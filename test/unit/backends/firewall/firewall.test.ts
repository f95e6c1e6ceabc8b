import test from 'ava';
import { Firewall } from '../../../../backends/firewall/firewall.ts';
import type { FirewallWish } from '../../../../backends/firewall/wish.ts';
import type { Log } from '../../../../config/log.ts';
import { VirtualClock } from '../../../fakes/clock.ts';
import { type FakeFiltersOptions, FakePacketFilters } from '../../../fakes/packet-filters.ts';
import { prefix } from '../../../support/addresses.ts';
import { DOCKER, FLANNELS, flannelds, IPV4, MARK } from '../../../support/firewall-wishes.ts';

const ONE: FirewallWish = { ...FLANNELS, families: [IPV4] };
const NONE: FirewallWish = { ...ONE, masquerade: false, forward: false };

class Rig {
  readonly clock = new VirtualClock();
  readonly host: FakePacketFilters;
  readonly said: string[] = [];
  readonly firewall: Firewall;
  /** The kernel tells that something was changed. */
  changed: () => void = () => undefined;

  constructor({ isTold = false, ...options }: FakeFiltersOptions & { readonly isTold?: boolean } = {}) {
    this.host = new FakePacketFilters(options);
    const say = (level: string) => (message: string) => void this.said.push(`${level} ${message}`);
    const log: Log = { debug: () => undefined, info: say('info'), warn: say('warn'), error: say('error') };
    const onChange = (listener: () => void): (() => void) | undefined => {
      this.changed = listener;
      return isTold ? () => void this.said.push('unwatched') : undefined;
    };
    this.firewall = new Firewall({ programs: this.host, clock: this.clock, log, resyncSeconds: 5, onChange });
  }

  get tables() {
    return this.host.iptables.nft.iptables;
  }

  async wish(wish: FirewallWish): Promise<void> {
    this.firewall.set(wish);
    await this.firewall.look();
  }

  /** What was written since the last time it was asked. */
  written(): readonly string[] {
    return this.host.written.splice(0).map(({ program }) => program);
  }

  /** Lets it run while `work` lasts. */
  async running(work: () => Promise<void>): Promise<void> {
    const stop = new AbortController();
    const run = this.firewall.run(stop.signal).catch((reason: unknown) => reason);
    await work();
    stop.abort(new Error('stopped'));
    await run;
  }
}

test('nothing is asked for: nothing is run', async (t) => {
  const rig = new Rig();
  await rig.firewall.look();
  t.is(rig.host.runs.size, 0);
  t.deepEqual(rig.firewall.state(), { program: 'none', version: '', inPlaceSince: undefined, repairs: 0, notes: [] });
});

test('both families: one write each, then none', async (t) => {
  const rig = new Rig();
  await rig.wish(FLANNELS);
  t.deepEqual(rig.written(), ['iptables-restore', 'ip6tables-restore']);
  t.is(rig.firewall.problem(), undefined);
  const { program, version, inPlaceSince } = rig.firewall.state();
  t.deepEqual(
    { program, version, inPlaceSince },
    { program: 'iptables', version: '1.8.9', inPlaceSince: rig.clock.now() },
  );
  await rig.firewall.look();
  t.deepEqual(rig.written(), []);
});

test('what a flanneld left is taken over: nothing is written', async (t) => {
  for (const kind of ['nft', 'legacy'] as const) {
    const rig = new Rig({ iptables: kind });
    rig.host.iptables[kind].iptables.load(flannelds(`iptables-${kind}`));
    rig.host.iptables[kind].ip6tables.load(flannelds(`ip6tables-${kind}`));
    await rig.wish(FLANNELS);
    t.deepEqual(rig.written(), []);
    t.deepEqual(rig.said, []);
  }
});

test('a check is one list for each family', async (t) => {
  const rig = new Rig();
  await rig.wish({ ...FLANNELS, docker: DOCKER });
  rig.host.runs.clear();
  await rig.firewall.look();
  t.deepEqual(
    [...rig.host.runs],
    [
      ['iptables-save', 1],
      ['ip6tables-save', 1],
    ],
  );
});

test('flushed rules are back within the time asked for, and it is said once', async (t) => {
  const rig = new Rig();
  await rig.wish(ONE);
  const standing = rig.tables.listing();
  rig.written();
  await rig.running(async () => {
    await rig.clock.advance(1000);
    rig.tables.flush();
    await rig.clock.advance(4000);
  });
  t.is(rig.tables.listing(), standing);
  t.deepEqual(rig.written(), ['iptables-restore']);
  t.is(rig.firewall.state().repairs, 1);
  t.is(rig.firewall.state().inPlaceSince, rig.clock.now() - 1000);
  t.deepEqual(rig.said.slice(1), ['warn somebody changed rules of the packet filter: put right']);
});

test('what the kernel tells is looked at, at most once a second; without that there is little to look for', async (t) => {
  const rig = new Rig({ isTold: true });
  await rig.wish(ONE);
  await rig.running(async () => {
    await rig.clock.advance(100);
    rig.tables.flush();
    rig.changed();
    t.true(await rig.clock.advanceUntil(() => rig.firewall.state().repairs === 1, 1100));
    const before = rig.host.runs.get('iptables-save') ?? 0;
    for (let time = 0; time < 3000; time += 10) {
      rig.changed();
      await rig.clock.advance(10);
    }
    const looks = (rig.host.runs.get('iptables-save') ?? 0) - before;
    t.true(looks >= 2 && looks <= 3, `${looks} looks in 3 s`);
    const then = rig.host.runs.get('iptables-save') ?? 0;
    await rig.clock.advance(40_000);
    t.true((rig.host.runs.get('iptables-save') ?? 0) - then <= 1);
  });
  t.is(rig.said.at(-1), 'unwatched');
});

test('a look that takes long is not taken as often as others change something, yet soon enough', async (t) => {
  const rig = new Rig({ isTold: true });
  const run = rig.host.run.bind(rig.host);
  let isSlow = false;
  rig.host.run = async (program, args, options) => {
    if (isSlow && program === 'iptables-save') await rig.clock.sleep(700, new AbortController().signal);
    return await run(program, args, options);
  };
  await rig.wish(ONE);
  isSlow = true;
  await rig.running(async () => {
    const before = rig.host.runs.get('iptables-save') ?? 0;
    for (let time = 0; time < 20_000; time += 100) {
      rig.changed();
      await rig.clock.advance(100);
    }
    const looks = (rig.host.runs.get('iptables-save') ?? 0) - before;
    t.true(looks >= 4 && looks <= 7, `${looks} looks in 20 s`);
    rig.tables.flush();
    rig.changed();
    t.true(await rig.clock.advanceUntil(() => rig.tables.listing().includes('FLANNEL'), 5000));
    await rig.clock.advance(2000);
  });
});

test("of the old iptables' tables the kernel tells nothing: they are looked at nevertheless", async (t) => {
  const rig = new Rig({ isTold: true, iptables: 'legacy' });
  await rig.wish(ONE);
  await rig.running(async () => {
    rig.host.iptables.legacy.iptables.flush();
    t.true(await rig.clock.advanceUntil(() => rig.firewall.state().repairs === 1, 5000));
  });
});

test('a wish that is no other is no reason to look again', async (t) => {
  const rig = new Rig();
  await rig.wish(ONE);
  rig.host.runs.clear();
  rig.tables.flush();
  await rig.wish({ ...ONE });
  t.is(rig.firewall.state().repairs, 1, 'what was changed meanwhile was somebody else');
  t.is(rig.host.runs.get('nft'), undefined, 'no new survey');
});

test('a wish is followed at once, and ends with the signal', async (t) => {
  const rig = new Rig();
  await rig.running(async () => {
    rig.firewall.set(ONE);
    await rig.clock.advance(1);
    t.deepEqual(rig.written(), ['iptables-restore']);
  });
});

test('a fight is fought more and more slowly, and named', async (t) => {
  const rig = new Rig();
  await rig.wish(ONE);
  rig.written();
  await rig.running(async () => {
    for (let second = 0; second < 120; second++) {
      rig.tables.flush('nat');
      await rig.clock.advance(1000);
    }
  });
  const { length } = rig.written();
  t.true(length >= 5 && length < 30, `${length} writes in two minutes`);
  t.regex(
    rig.firewall.problem() ?? '',
    /^IPv4 rules of iptables: another program keeps changing it \(see `nft monitor`\): /,
  );
  t.is(rig.said.filter((line) => line.startsWith('warn somebody keeps changing')).length, 1);
  await rig.running(() => rig.clock.advance(90_000));
  t.is(rig.firewall.problem(), undefined);
});

test('what is refused is said, and tried again until it is taken', async (t) => {
  const rig = new Rig();
  rig.host.broken.set('iptables-restore', 'iptables-restore: line 2 failed');
  await rig.wish(ONE);
  t.is(rig.firewall.problem(), 'IPv4 rules of iptables: iptables-restore: line 2 failed');
  await rig.running(async () => {
    await rig.clock.advance(60_000);
    t.is(rig.said.filter((line) => line.startsWith('error')).length, 1);
    rig.host.broken.clear();
    await rig.clock.advance(40_000);
  });
  t.is(rig.firewall.problem(), undefined);
  t.is(rig.firewall.state().repairs, 0);
  t.true(rig.tables.listing().includes('FLANNEL-FWD'));
});

test('what can not be read is said once, and nothing is written', async (t) => {
  const rig = new Rig();
  await rig.wish(ONE);
  rig.written();
  rig.host.broken.set('iptables-save', 'iptables-save: Permission denied');
  await rig.running(() => rig.clock.advance(20_000));
  t.deepEqual(rig.written(), []);
  t.is(rig.firewall.problem(), 'IPv4 rules of iptables: iptables-save: Permission denied');
  t.is(rig.said.filter((line) => line.startsWith('error')).length, 1);
  t.is(rig.firewall.state().inPlaceSince, undefined);
  rig.host.broken.clear();
  await rig.firewall.look();
  t.is(rig.firewall.problem(), undefined);
});

test('a table that only nft can show is named, and the others are kept', async (t) => {
  const rig = new Rig();
  await rig.wish(ONE);
  const run = rig.host.run.bind(rig.host);
  rig.host.run = async (program, args, options) => {
    const outcome = await run(program, args, options);
    if (program !== 'iptables-save' || !outcome) return outcome;
    const filter = /^\*filter\n[^*]*?COMMIT\n/m;
    return {
      ...outcome,
      stdout: outcome.stdout.replace(filter, "# Table `filter' is incompatible, use 'nft' tool.\n"),
    };
  };
  rig.tables.flush('nat');
  await rig.firewall.look();
  t.regex(
    rig.firewall.problem() ?? '',
    /^IPv4 rules of iptables: the table filter has rules that iptables has no words for/,
  );
  t.is(rig.tables.rules('nat', 'FLANNEL-POSTRTG')?.length, 6);
  t.is(rig.firewall.state().inPlaceSince, undefined);
});

test('neither iptables nor nft: said, and taken up once it is there', async (t) => {
  const rig = new Rig({ iptables: undefined, nft: false });
  await rig.wish({ ...ONE, docker: DOCKER });
  t.is(
    rig.firewall.problem(),
    'neither iptables nor nft is installed: nothing masquerades or forwards for 10.5.0.0/16; install one',
  );
  t.is(rig.firewall.state().program, 'none');
  await rig.wish(NONE);
  t.is(rig.firewall.problem(), undefined);
});

test('no iptables: flannel-ipv4 of nftables instead, and only what needs iptables is missed', async (t) => {
  const rig = new Rig({ iptables: undefined });
  await rig.wish(ONE);
  t.deepEqual(rig.written(), ['nft']);
  t.deepEqual([...rig.host.nft.tables.keys()], ['ip flannel-ipv4']);
  t.is(rig.firewall.state().program, 'nft');
  t.deepEqual(rig.firewall.state().notes, ['there is no iptables: the rules for 10.5.0.0/16 are in nftables']);
  await rig.wish({ ...ONE, docker: DOCKER });
  t.regex(rig.firewall.problem() ?? '', /iptables is not installed: there is no way for 10.5.0.0\/16 through Docker/);
  await rig.wish({ ...ONE, docker: { ...DOCKER, mark: MARK } });
  t.is(rig.firewall.problem(), undefined);
});

test('EnableNFTables without nft: iptables instead, and it is said', async (t) => {
  const rig = new Rig({ nft: false });
  await rig.wish({ ...ONE, nftables: true });
  t.deepEqual(rig.written(), ['iptables-restore']);
  t.deepEqual(rig.firewall.state().notes, ['there is no nft: the rules for 10.5.0.0/16 are in iptables']);
});

test('from iptables to nftables and back: what was goes only when what is to be stands', async (t) => {
  const rig = new Rig();
  await rig.wish(ONE);
  rig.host.broken.set('nft -f', 'nft: not now');
  await rig.wish({ ...ONE, nftables: true });
  t.is(rig.firewall.problem(), 'nft table ip flannel-ipv4: nft: not now');
  t.true(rig.tables.listing().includes('FLANNEL-POSTRTG'));
  rig.host.broken.clear();
  await rig.clock.advance(1000);
  await rig.firewall.look();
  t.is(rig.firewall.problem(), undefined);
  // It is a leftover now, and looked for with the next survey.
  await rig.clock.advance(60_000);
  await rig.firewall.look();
  t.false(rig.tables.listing().includes('FLANNEL'));
  t.deepEqual([...rig.host.nft.tables.keys()], ['ip flannel-ipv4']);
  await rig.wish(ONE);
  t.true(rig.tables.listing().includes('FLANNEL-POSTRTG'));
  t.is(rig.host.nft.tables.size, 0);
});

test("the other kind of iptables is chosen where Docker's chains are; what stands in the first goes", async (t) => {
  const rig = new Rig({ kinds: ['nft', 'legacy'] });
  await rig.wish(ONE);
  t.is(rig.firewall.state().program, 'iptables');
  rig.host.iptables.legacy.iptables.load('*filter\n:FORWARD ACCEPT [0:0]\n:DOCKER - [0:0]\nCOMMIT\n');
  await rig.clock.advance(60_000);
  await rig.firewall.look();
  t.is(rig.firewall.state().program, 'iptables-legacy');
  t.true(rig.host.iptables.legacy.iptables.listing().includes('FLANNEL-POSTRTG'));
  t.false(rig.tables.listing().includes('FLANNEL'));
});

const DOCKERS = '-s 10.5.17.0/24 ! -o docker0 -j MASQUERADE';

test('masquerading that is no longer asked for stays until Docker masquerades: nobody loses the way out', async (t) => {
  const rig = new Rig();
  await rig.wish(ONE);
  await rig.wish({ ...ONE, masquerade: false });
  t.true(rig.tables.listing().includes('MASQUERADE'));
  t.regex(rig.firewall.state().notes.join(), /10\.5\.17\.0\/24 are left from a run with --ip-masq/);
  t.is(rig.firewall.problem(), undefined);
  rig.tables.append('nat', 'POSTROUTING', '-s 172.18.0.0/16 ! -o br-1 -j MASQUERADE');
  const hairpin = '-s 10.5.17.2/32 -d 10.5.17.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE';
  rig.tables.append('nat', 'POSTROUTING', hairpin);
  await rig.firewall.look();
  t.true(rig.tables.listing().includes('FLANNEL-POSTRTG'));
  rig.tables.append('nat', 'POSTROUTING', DOCKERS);
  await rig.firewall.look();
  t.false(rig.tables.listing().includes('FLANNEL-POSTRTG'));
  t.deepEqual(rig.firewall.state().notes, []);
});

test('masquerading that waits is noted for as long as it does, also where nothing else is wanted', async (t) => {
  const rig = new Rig();
  await rig.wish(ONE);
  await rig.wish(NONE);
  await rig.firewall.look();
  t.is(rig.firewall.state().notes.length, 1);
  rig.tables.append('nat', 'POSTROUTING', DOCKERS);
  await rig.firewall.look();
  t.deepEqual(rig.firewall.state().notes, []);
  t.false(rig.tables.listing().includes('FLANNEL'));
});

test("Docker's nftables backend masquerades too", async (t) => {
  const rig = new Rig();
  await rig.wish(ONE);
  rig.host.nft.run(`add table ip docker-bridges
add chain ip docker-bridges out { type nat hook postrouting priority 100; policy accept; }
add rule ip docker-bridges out oifname != "docker0" ip saddr 10.5.17.0/24 counter masquerade`);
  await rig.wish({ ...ONE, masquerade: false });
  t.false(rig.tables.listing().includes('FLANNEL-POSTRTG'));
});

test('ways for Docker: in iptables, and a mark in nftables; both go with the wish', async (t) => {
  const rig = new Rig();
  await rig.wish({ ...ONE, docker: { ...DOCKER, mark: MARK } });
  t.is(rig.tables.rules('filter', 'DOCKER-USER')?.length, 1);
  t.is(rig.tables.rules('raw', 'PREROUTING')?.length, 1);
  t.deepEqual([...rig.host.nft.tables.keys()], ['inet tartan-docker-flannel.1']);
  rig.host.nft.tables.clear();
  await rig.firewall.look();
  t.deepEqual([...rig.host.nft.tables.keys()], ['inet tartan-docker-flannel.1']);
  await rig.wish(ONE);
  t.is(rig.tables.rules('filter', 'DOCKER-USER'), undefined);
  t.is(rig.host.nft.tables.size, 0);
});

test('a subnet or a network that changes takes its rules along', async (t) => {
  const rig = new Rig();
  await rig.wish(ONE);
  await rig.wish({ ...ONE, families: [{ ...IPV4, subnet: prefix('10.5.18.0/24') }] });
  t.false(rig.tables.listing().includes('10.5.17.0'));
  const moved = { family: 4, network: prefix('10.9.0.0/16'), subnet: prefix('10.9.1.0/24') } as const;
  await rig.wish({ ...ONE, families: [moved] });
  t.false(rig.tables.listing().includes('10.5.'));
  t.is(rig.firewall.state().repairs, 0);
});

test('leftovers of a program that was in use are looked for once a minute', async (t) => {
  const rig = new Rig();
  await rig.wish(ONE);
  rig.host.nft.run(
    'add table ip flannel-ipv4\nadd chain ip flannel-ipv4 forward { type filter hook forward priority 0; policy accept; }',
  );
  await rig.clock.advance(30_000);
  await rig.firewall.look();
  t.is(rig.host.nft.tables.size, 1);
  await rig.clock.advance(30_000);
  await rig.firewall.look();
  t.is(rig.host.nft.tables.size, 0);
});

test('a fault of ours is a problem, not the end', async (t) => {
  const rig = new Rig();
  rig.host.run = () => Promise.reject(new Error('spawn EAGAIN'));
  await rig.wish(ONE);
  t.is(rig.firewall.problem(), 'spawn EAGAIN');
});

import test from 'ava';
import type { Clock } from '../../../config/clock.ts';
import { askHolders } from '../../../leases/challenge.ts';
import type { Offer } from '../../../leases/exchange.ts';
import type { LeaseSubnets } from '../../../leases/lease.ts';
import { ip, net, PREFIX } from './leases.ts';
import { type Host, KEYS, World } from './world.ts';

const LEASE: LeaseSubnets = { subnet: net('10.5.1.0/24'), subnet6: undefined };
const OTHER: LeaseSubnets = { subnet: net('10.5.2.0/24'), subnet6: net('fd00:5:0:2::/64') };
const KEY = KEYS.challenge(LEASE);

function ask(host: Host, leases: readonly LeaseSubnets[] = [LEASE], holds?: LeaseSubnets) {
  return askHolders(host.context(), { owner: host.owner, holds }, leases);
}

test('nobody is asked: no call at all', async (t) => {
  const world = new World(t);
  const host = world.host();
  t.like(await ask(host, []), { answered: [], isUnclear: false, unanswered: [] });
  t.deepEqual(Object.values(host.store.calls).filter(Boolean), []);
});

test('a holder answers, each for its lease; the questions go when they are taken back', async (t) => {
  const world = new World(t);
  const [asker, holder, other] = [world.host(), world.host(), world.host()];
  holder.answer(t, { ...(await holder.mustAcquire()), ...LEASE });
  const stop = other.answer(t, { ...(await other.mustAcquire()), ...OTHER });
  const first = await world.done(ask(asker, [OTHER, LEASE]));
  t.like(first.answered[0], { outcome: 'answered', holder: other.owner, subnets: OTHER, cedes: undefined });
  t.is(first.answered.length, 2);
  await first.end();
  stop();
  const second = await world.done(ask(asker, [OTHER, LEASE]));
  t.like(second.answered[0], { holder: holder.owner, subnets: LEASE });
  t.is(second.unanswered.length, 1);
  await second.end();
  t.deepEqual(
    world.own.filter((key) => key.startsWith('challenges/')),
    [],
  );
});

test('silence is believed after three seconds, and the question stays to be compared with', async (t) => {
  const world = new World(t);
  const inquiry = await world.done(ask(world.host()));
  t.is(Math.round(world.clock.monotonic() / 100), 30);
  const [question] = inquiry.unanswered;
  t.is(question?.key, KEY);
  t.is(world.etcd.kvs.find(({ key }) => key === KEY)?.modRevision, question?.modRevision);
});

test('an answer that comes after the last look changes the question, so that the claim is foiled', async (t) => {
  const world = new World(t);
  const holder = world.host();
  const held = await holder.mustAcquire();
  const [question] = (await world.done(ask(world.host()))).unanswered;
  holder.answer(t, { ...held, ...LEASE });
  await world.clock.advance(100);
  t.not(world.etcd.kvs.find(({ key }) => key === KEY)?.modRevision, question?.modRevision);
});

test('the asker was suspended while the answer came: it still counts', async (t) => {
  const world = new World(t);
  const [asker, holder] = [world.host(), world.host()];
  const held = await holder.mustAcquire();
  const { clock } = world;
  const never = new AbortController().signal;
  const stalling: Clock = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    random: () => clock.random(),
    sleep: () => clock.sleep(5000, never),
  };
  const slow = { ...asker.context(), clock: stalling };
  const work = askHolders(slow, { owner: asker.owner, holds: undefined }, [LEASE]);
  await clock.advance(4000);
  holder.answer(t, { ...held, ...LEASE });
  t.like((await world.done(work)).answered[0], { holder: holder.owner });
});

test('a question that is gone says nothing: its etcd lease ran out, the store was wiped', async (t) => {
  for (const loses of ['lease', 'store'] as const) {
    const world = new World(t);
    const work = ask(world.host());
    await world.clock.advance(1000);
    if (loses === 'lease') world.etcd.revoke(world.etcd.leases[0] ?? '');
    else world.etcd.restore();
    t.like(await world.done(work), { answered: [], isUnclear: true, unanswered: [] });
  }
});

test('two who ask at once: one learns, the other waits and looks again', async (t) => {
  const world = new World(t);
  const answers = await world.done(Promise.all([ask(world.host()), ask(world.host())]));
  t.deepEqual(
    answers.map(({ unanswered, isUnclear }) => [unanswered.length, isUnclear]),
    [
      [1, false],
      [0, true],
    ],
  );
  const holder = world.host();
  holder.answer(t, { ...(await holder.mustAcquire()), ...LEASE });
  const more = await world.done(Promise.all([ask(world.host()), ask(world.host())]));
  t.true(more.every(({ answered: [first] }) => first?.holder.node === holder.owner.node));
});

test('the second does not wait longer than the first asks', async (t) => {
  const world = new World(t);
  const first = ask(world.host());
  await world.clock.advance(2900);
  const second = ask(world.host());
  await (await world.done(first)).end();
  t.true((await world.done(second)).isUnclear);
  t.true(world.clock.monotonic() < 3500);
});

test('a holder that restarts while it is asked answers', async (t) => {
  const world = new World(t);
  const [asker, holder] = [world.host(), world.host()];
  const held = await holder.mustAcquire();
  const work = ask(asker, [held]);
  await world.clock.advance(1000);
  const again = await holder.mustAcquire();
  holder.answer(t, again);
  t.like((await world.done(work)).answered[0], { holder: holder.owner });
});

test("rubbish and what would stay for ever is replaced; another's question is not", async (t) => {
  const real = JSON.stringify({
    by: { node: 'n', name: 'x', claim: 'c' },
    answer: { node: 'n', name: 'y', claim: 'd' },
  });
  for (const value of ['', '[]', '{"by":1}', '{"by":{"node":"n"}}', real]) {
    const world = new World(t);
    world.etcd.put(KEY, value);
    t.is((await world.done(ask(world.host()))).unanswered.length, 1, value);
  }
  const world = new World(t);
  world.etcd.put(KEY, real, world.etcd.grant(60));
  t.like((await world.done(ask(world.host()))).answered[0], { holder: { node: 'n', name: 'y', claim: 'd' } });
});

test('a holder answers a clone of itself, but not its own question', async (t) => {
  const world = new World(t);
  const holder = world.host();
  holder.answer(t, { ...(await holder.mustAcquire()), ...LEASE });
  const clone = world.host({ node: 'node1', claim: 'claim1' });
  const asked = await world.done(ask(clone));
  t.like(asked.answered[0], { holder: holder.owner });
  await asked.end();
  const itself = await world.done(ask(holder, [LEASE], LEASE));
  t.is(itself.unanswered.length, 1);
  await itself.end();
  t.like((await world.done(ask(holder, [LEASE], OTHER))).answered[0], { holder: holder.owner });
});

test("an answer that can't be written is tried again", async (t) => {
  const world = new World(t);
  const [asker, holder] = [world.host(), world.host()];
  holder.answer(t, { ...(await holder.mustAcquire()), ...LEASE });
  const work = ask(asker);
  for (let i = 0; i < 3; i++) holder.store.failNext();
  t.like((await world.done(work)).answered[0], { holder: holder.owner });
});

test('what holders are told is never believed to be more than it is: nothing they read throws', async (t) => {
  const world = new World(t);
  const holder = world.host();
  holder.answer(t, { ...(await holder.mustAcquire()), ...LEASE });
  for (const value of ['', 'null', '{"by":{"node":1}}', '{'.repeat(100_000)]) world.etcd.put(KEY, value);
  await world.clock.advance(1000);
  t.deepEqual(holder.logged, []);
  world.etcd.delete(KEY);
  t.like((await world.done(ask(world.host()))).answered[0], { holder: holder.owner });
});

test('a holder to whom etcd forbids the questions says so once, and looks again only now and then', async (t) => {
  const world = new World(t);
  const holder = world.host();
  const held = await holder.mustAcquire();
  holder.store.deny(`${PREFIX}/tartan/`);
  holder.answer(t, held);
  await world.clock.advance(3_600_000);
  t.is(holder.logged.length, 1);
  t.true(holder.store.calls.list < 20, String(holder.store.calls.list));
});

test('etcd goes away while it is asked: an error, and the question runs out', async (t) => {
  const world = new World(t);
  const asker = world.host();
  const work = ask(asker);
  await world.clock.advance(1000);
  asker.store.reachable = false;
  await t.throwsAsync(world.done(work), { code: 'ETCD_UNAVAILABLE' });
  await world.clock.advance(10_000);
  t.deepEqual(world.own, []);
});

const OFFER: Offer = {
  wants: { publicIp: ip('192.0.2.7'), publicIp6: undefined },
  gives: { publicIp: ip('192.0.2.8'), publicIp6: undefined },
};

test('what is offered for an address reaches the holder, and what it agrees to the asker', async (t) => {
  const world = new World(t);
  const holder = world.host();
  const offers: Offer[] = [];
  const words = {
    sure: async () => undefined,
    cede: (offer: Offer) => {
      offers.push(offer);
      return 'a value';
    },
  };
  holder.answer(t, { ...(await holder.mustAcquire()), ...LEASE }, words);
  const asker = world.host();
  const asking = { owner: asker.owner, holds: undefined, offer: OFFER };
  const { answered } = await world.done(askHolders(asker.context(), asking, [LEASE]));
  t.deepEqual(offers, [OFFER]);
  t.like(answered[0], { holder: holder.owner, cedes: 'a value' });
  t.is(world.etcd.kvs.find(({ key }) => key === KEY)?.modRevision, answered[0]?.question.modRevision);
});

test("an answer to another one's offer is none to ours", async (t) => {
  const world = new World(t);
  const holder = world.host();
  const stop = holder.answer(t, { ...(await holder.mustAcquire()), ...LEASE });
  const other = await world.done(ask(world.host()));
  stop();
  const asker = world.host();
  const asking = { owner: asker.owner, holds: undefined, offer: OFFER };
  t.like(await world.done(askHolders(asker.context(), asking, [LEASE])), { answered: [], isUnclear: true });
  await other.end();
});

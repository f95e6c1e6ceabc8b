import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import test from 'ava';
import { isHeard } from '../../../../backends/kernel/echo-filter.ts';
import type { Kernel, KernelEvent } from '../../../../backends/kernel/kernel.ts';
import { openKernel } from '../../../../backends/kernel/linux-kernel.ts';
import { keyOf, type Link, type Operation } from '../../../../backends/state.ts';
import { silentLog } from '../../../../config/log.ts';
import { ip, mac, prefix } from '../../../support/addresses.ts';
import { enterFreshNamespace, run } from '../../../support/netns.ts';

enterFreshNamespace();
run('ip link add tk0 type veth peer name tk1 && ip link set tk0 up && ip link set tk1 up');
run('ip addr add 192.0.2.1/24 dev tk0');

/** What the monitor has told, as lines, and who waits for which. */
const told = new Set<string>();
let events = 0;
let waiting: (() => void) | undefined;

function lineOf(event: KernelEvent): string {
  if (event.verb === 'lost') return 'lost';
  if ('observed' in event) return `${event.verb} ${keyOf(event.observed.object)} p${event.observed.protocol}`;
  if ('link' in event) return `${event.verb} device ${event.link}`;
  if ('sysctlsOf' in event) return `set switches of ${event.sysctlsOf}`;
  if ('address' in event) return `${event.verb} ${event.address.ip} on ${event.address.dev}`;
  return `${event.verb} foreign ${event.foreignRoute}`;
}

function hear(event: KernelEvent): void {
  events++;
  told.add(lineOf(event));
  waiting?.();
}

/** Waits until `holds`; looks again with every event. */
function until(holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    waiting = () => {
      if (!holds()) return;
      waiting = undefined;
      resolve();
    };
    waiting();
  });
}

/** Runs the command and waits for every line. */
async function tells(command: string, ...lines: string[]): Promise<void> {
  told.clear();
  run(command);
  await until(() => lines.every((line) => told.has(line)));
}

const flannel: Link = {
  kind: 'link',
  name: 'flannel.1',
  mac: mac('02:42:00:00:00:01'),
  mtuBytes: 1450,
  up: true,
  vxlan: { vni: 1, port: 8472, local: ip('192.0.2.1'), lower: 'tk0', learning: false, gbp: false },
};

let kernel: Kernel;
test.before(async () => {
  kernel = await openKernel(silentLog);
  await kernel.monitor(hear);
  await kernel.apply([{ verb: 'set', object: flannel, why: 'test' }]);
  await until(() => told.has('set device flannel.1'));
});
test.after.always(() => kernel.close());

test.serial("what others do to our device's entries is told", async (t) => {
  const device = 'dev flannel.1';
  const way = `via 10.5.2.0 ${device} onlink`;
  const steps: [string, string][] = [
    [
      `ip neigh replace 10.5.2.0 lladdr 02:42:00:00:00:02 ${device} nud permanent`,
      `set neighbour 10.5.2.0 ${device} p0`,
    ],
    [`ip neigh del 10.5.2.0 ${device}`, `delete neighbour 10.5.2.0 ${device} p0`],
    [`bridge fdb add 02:42:00:00:00:02 ${device} dst 192.0.2.2`, `set fdb 02:42:00:00:00:02 ${device} p0`],
    [`bridge fdb del 02:42:00:00:00:02 ${device}`, `delete fdb 02:42:00:00:00:02 ${device} p0`],
    [`ip nexthop add id 7 ${way} protocol 84`, 'set nexthop 7 p84'],
    ['ip route add 10.5.2.0/24 nhid 7 protocol 84', 'set route 10.5.2.0/24 p84'],
    ['ip route del 10.5.2.0/24', 'delete route 10.5.2.0/24 p84'],
    ['ip nexthop del id 7', 'delete nexthop 7 p84'],
    [`ip route add 10.5.3.0/24 ${way}`, 'set route 10.5.3.0/24 p3'],
    ['ip route replace blackhole 10.5.3.0/24', 'set foreign 10.5.3.0/24'],
    ['ip route del 10.5.3.0/24', 'delete foreign 10.5.3.0/24'],
    ['ip nexthop add id 8 blackhole', 'set foreign nexthop 8'],
    [`ip addr add 10.5.1.0/32 ${device}`, 'set 10.5.1.0 on flannel.1'],
    [`ip -6 addr add fd05::1/128 ${device} nodad`, 'set fd05::1 on flannel.1'],
    [`ip addr del 10.5.1.0/32 ${device}`, 'delete 10.5.1.0 on flannel.1'],
    ['ip link set flannel.1 down', 'set device flannel.1'],
    ['ip link set flannel.1 up', 'set device flannel.1'],
  ];
  for (const [command, line] of steps) await tells(command, line);
  t.pass();
});

test.serial('devices that come, change their names and go are told and known', async (t) => {
  await tells('ip link add tk-a type bridge', 'set device tk-a');
  await tells('ip link set tk-a name tk-b', 'delete device tk-a', 'set device tk-b');
  await tells('ip link del tk-b', 'delete device tk-b');
  await tells('ip link del flannel.1', 'delete device flannel.1');
  const entry = { kind: 'fdb', dev: 'flannel.1', mac: mac('02:42:00:00:00:02'), dst: ip('192.0.2.2') } as const;
  const operations: Operation[] = [flannel, entry].map((object) => ({ verb: 'set', object, why: 'test' }));
  t.deepEqual(await kernel.apply(operations), [undefined, undefined]);
});

test.serial('a port that leaves a bridge is not taken for a device that goes', async (t) => {
  await tells('ip link add tk-br type bridge && ip link set tk1 master tk-br', 'set device tk-br');
  told.clear();
  run('ip link set tk1 nomaster && ip link add tk-end type bridge');
  await until(() => told.has('set device tk-end'));
  t.false(told.has('delete device tk1'));
});

const PEERS = 10_000;
const high = (i: number): string => (i >> 8).toString(16).padStart(2, '0');
const low = (i: number): string => (i & 255).toString(16).padStart(2, '0');

/** The four operations that make a peer. */
function peer(i: number): Operation[] {
  const dev = 'flannel.1';
  const gateway = ip(`10.${65 + (i >> 8)}.${i & 255}.0`);
  const hardware = mac(`02:42:00:01:${high(i)}:${low(i)}`);
  const id = 0x54000000 + i;
  return [
    { verb: 'set', object: { kind: 'neighbour', dev, ip: gateway, mac: hardware }, why: '' },
    { verb: 'set', object: { kind: 'fdb', dev, mac: hardware, dst: ip(`172.16.${i >> 8}.${i & 255}`) }, why: '' },
    { verb: 'create', object: { kind: 'nexthop', id, dev, gateway, onlink: true }, why: '' },
    {
      verb: 'set',
      object: { kind: 'route', dst: prefix(`${gateway}/24`), dev, gateway, onlink: true, nexthopId: id },
      why: '',
    },
  ];
}

function lineFor({ verb, object }: Operation): string {
  const isMarked = object.kind === 'route' || object.kind === 'nexthop';
  return `${verb === 'delete' ? 'delete' : 'set'} ${keyOf(object)} p${isMarked ? 84 : 0}`;
}

/** Every event of the operations has come that is to be told, or it was said that some were lost. */
async function allTold(operations: readonly Operation[]): Promise<void> {
  const lines = operations.filter(isHeard).map(lineFor);
  let at = 0;
  await until(() => {
    while (at < lines.length && told.has(lines[at] ?? '')) at++;
    return at === lines.length || told.has('lost');
  });
}

test.serial('ten thousand peers come and go while the monitor listens', async (t) => {
  const operations = Array.from({ length: PEERS }, (_, i) => peer(i)).flat();
  told.clear();
  t.true((await kernel.apply(operations)).every((refusal) => refusal === undefined));
  await allTold(operations);
  t.false(operations.some((operation) => !isHeard(operation) && told.has(lineFor(operation))));
  const wanted = operations.map(({ object }) => object);
  const [neighbours, fdb, nexthops, routes] = await Promise.all([
    kernel.neighbours('flannel.1', 4),
    kernel.fdb('flannel.1'),
    kernel.nexthops(),
    kernel.routes(4),
  ]);
  const standing = new Set([...neighbours, ...fdb, ...(nexthops ?? [])].map(({ object }) => JSON.stringify(object)));
  for (const object of wanted) if (object.kind !== 'route') t.true(standing.has(JSON.stringify(object)));
  t.is(routes.filter(({ protocol, nexthopId }) => protocol === 84 && nexthopId !== undefined).length, PEERS);
  t.is(Number(run('ip route show protocol 84 | wc -l')), PEERS);
  t.is(Number(run('ip neigh show dev flannel.1 nud permanent | wc -l')), PEERS);

  told.clear();
  const removals = operations.map((operation) => ({ ...operation, verb: 'delete' }) as const).reverse();
  t.true((await kernel.apply(removals)).every((refusal) => refusal === undefined));
  await allTold(removals);
  t.false(removals.some((operation) => !isHeard(operation) && told.has(lineFor(operation))));
  t.false((await kernel.fdb('flannel.1')).some(({ object }) => object.dst.startsWith('172.16.')));
  t.false([...(await kernel.nexthopIds())].some((id) => id >= 0x54000000));
  t.false((await kernel.routes(4)).some(({ protocol }) => protocol === 84));
});

/** Routes put in and taken out by another program while this process stands still: run waits for its child. */
function storm(rounds: number): void {
  const routes = Array.from({ length: 10_000 }, (_, i) => `10.${100 + (i >> 8)}.${i & 255}.0/24 dev tk0`);
  const round = [...routes.map((route) => `route add ${route}`), ...routes.map((route) => `route del ${route}`)];
  const directory = mkdtempSync(join(tmpdir(), 'tk-'));
  const file = join(directory, 'batch');
  writeFileSync(file, `${round.join('\n')}\n`);
  for (let i = 0; i < rounds; i++) run(`ip -batch ${file}`);
  rmSync(directory, { recursive: true });
}

test.serial('ten thousand routes of another program while the loop stands still end nothing', async (t) => {
  told.clear();
  events = 0;
  storm(1);
  await until(() => events >= 20_000 || told.has('lost'));
  t.true((await kernel.links()).length > 1);
});

test.serial('where more comes than the buffer holds, it is said that events were lost', async (t) => {
  told.clear();
  storm(6);
  await until(() => told.has('lost'));
  // As long as the buffer is full, new events are lost too.
  for (let mtu = 1300; !told.has('set device tk0'); mtu++) {
    run(`ip link set tk0 mtu ${mtu}`);
    await setTimeout(10);
  }
  t.true((await kernel.routes(4)).length > 0);
});

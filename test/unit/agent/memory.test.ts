import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { clusterFile } from '../../../agent/cluster-file.ts';
import { Memory } from '../../../agent/memory.ts';
import { loadMemory } from '../../../agent/state-file.ts';
import { silentLog } from '../../../config/log.ts';
import type { HeldLease } from '../../../leases/held-lease.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { ip, prefix } from '../../support/addresses.ts';

const attributes = { publicIp: ip('192.0.2.1'), publicIp6: undefined, backendType: 'host-gw' };
const owner = { node: 'n', name: 'h', claim: 'c' };
const HELD: HeldLease = {
  ...{ key: '/p/subnets/10.5.1.0-24', value: '{}', subnet: prefix('10.5.1.0/24'), subnet6: undefined },
  ...{ attributes: { ...attributes, owner, backendData: undefined, backendV6Data: undefined } },
  ...{ etcdLease: '1', sideLease: undefined, expiresAt: 1, ttlSeconds: 60, modRevision: 3, clusterId: '7' },
};
const SEEN = { clusterId: '7', revision: 3 };

function directory(t: ExecutionContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-memory-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  return dir;
}

test('a store that is not settled leaves the one before in place', async (t) => {
  const dir = directory(t);
  const memory = await Memory.open(dir, '/p', silentLog);
  t.is(memory.known, undefined);
  memory.see(SEEN);
  t.is(memory.known, undefined);
  memory.hold(HELD, undefined);
  t.is(memory.known, undefined);
  memory.see(SEEN);
  memory.hold({ ...HELD, expiresAt: 2 }, undefined);
  memory.see(undefined);
  await memory.settled();
  const { held } = (await loadMemory(dir)).memory;
  t.deepEqual([held?.expiresAt, held?.seen], [2, SEEN]);
  t.deepEqual(memory.known, SEEN);
});

test('a damaged state file is told until it is cleared away, and who we are is new and written', async (t) => {
  const dir = directory(t);
  const file = join(dir, 'state.json');
  writeFileSync(file, 'half');
  let rings = 0;
  const memory = await Memory.open(dir, '/p', silentLog);
  memory.onProblem = () => rings++;
  t.regex(memory.problem() ?? '', /state\.json was not believed \(it is cut off\)/);
  t.is(readFileSync(`${file}.damaged`, 'utf8'), 'half');
  t.is((await loadMemory(dir)).memory.claim, memory.current.claim);
  rmSync(`${file}.damaged`);
  t.is(memory.problem(), undefined);
  memory.update({});
  await memory.settled();
  t.true(rings > 0);
});

test('a directory that can not be written to is a problem, told while it lasts, and ends nobody', async (t) => {
  const dir = directory(t);
  const file = join(dir, 'state.json');
  // The temporary file's place is taken.
  mkdirSync(join(dir, '.state.json.tartan-new', 'more'), { recursive: true });
  const memory = await Memory.open(dir, '/p', silentLog);
  t.regex(memory.problem() ?? '', /^a restart may get another subnet: cannot write/);
  rmSync(join(dir, '.state.json.tartan-new'), { recursive: true });
  memory.update({});
  await memory.settled();
  t.is(memory.problem(), undefined);
  t.true(existsSync(file));
});

test('the leases are of the store that the state file names, or are not gone by', async (t) => {
  const dir = directory(t);
  const memory = await Memory.open(dir, '/p', silentLog);
  memory.hold(HELD, SEEN);
  t.true(await memory.keep({ clusterId: '7', revision: 9, savedAt: 1, config: '{}', leases: [] }));
  t.deepEqual(memory.known, { clusterId: '7', revision: 9 });
  const before = readFileSync(join(dir, 'state.json'));
  const next = await Memory.open(dir, '/p', silentLog);
  t.true((await next.cluster()).ok);
  // A renewal that sees more of the store keeps it so.
  next.hold(HELD, { clusterId: '7', revision: 12 });
  await next.settled();
  t.true((await (await Memory.open(dir, '/p', silentLog)).cluster()).ok);
  // An older state file, from a backup.
  await memory.keep({ clusterId: '7', revision: 20, savedAt: 1, config: '{}', leases: [] });
  writeFileSync(join(dir, 'state.json'), before);
  const restored = await (await Memory.open(dir, '/p', silentLog)).cluster();
  t.regex(restored.ok ? '' : restored.reason, /another store/);
  t.true(existsSync(clusterFile(dir)));
});

/** All threads by which Node works on files wait, as they do on a disk that hangs. @returns what lets them go on */
async function hang(dir: string): Promise<() => void> {
  const pipe = join(dir, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const opening = Array.from({ length: 4 }, () => open(pipe, 'r'));
  await new Promise((resolve) => setImmediate(resolve));
  return () => {
    const writer = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
    void Promise.all(opening.map(async (file) => (await file).close())).then(() => closeSync(writer));
  };
}

test('a disk that hangs is not waited for in the end, and that is told', async (t) => {
  const dir = directory(t);
  const clock = new VirtualClock();
  const logged: string[] = [];
  const log = { ...silentLog, error: (message: string) => void logged.push(message) };
  const memory = await Memory.open(dir, '/p', log);
  await memory.close(clock);
  t.deepEqual([logged, clock.sleeping], [[], 0]);
  const goOn = await hang(dir);
  memory.hold(HELD, SEEN);
  let isClosed = false;
  const closing = memory.close(clock).then(() => {
    isClosed = true;
  });
  await clock.advance(1_900);
  t.false(isClosed);
  await clock.advance(200);
  await closing;
  t.regex(logged.join(), /hangs/);
  goOn();
  await memory.settled();
  t.deepEqual((await loadMemory(dir)).memory.held?.seen, SEEN);
});

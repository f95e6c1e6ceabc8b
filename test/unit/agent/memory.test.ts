import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { Memory } from '../../../agent/memory.ts';
import { loadMemory } from '../../../agent/state-file.ts';
import { silentLog } from '../../../config/log.ts';
import type { HeldLease } from '../../../leases/held-lease.ts';
import { ip, prefix } from '../../support/addresses.ts';

const attributes = { publicIp: ip('192.0.2.1'), publicIp6: undefined, backendType: 'host-gw' };
const owner = { node: 'n', name: 'h', claim: 'c' };
const HELD: HeldLease = {
  ...{ key: '/p/subnets/10.5.1.0-24', value: '{}', subnet: prefix('10.5.1.0/24'), subnet6: undefined },
  ...{ attributes: { ...attributes, owner, backendData: undefined, backendV6Data: undefined } },
  ...{ etcdLease: '1', sideLease: undefined, expiresAt: 1, ttlSeconds: 60, modRevision: 3, clusterId: '7' },
};
const SEEN = { clusterId: '7', revision: 3 };

test('a store that is not settled leaves the one before in place', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-memory-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
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

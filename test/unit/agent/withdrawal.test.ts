import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { withdraw } from '../../../agent/withdrawal.ts';
import { FakeKernel } from '../../fakes/kernel.ts';

test('where the kernel can not be cleared, the files of the lost lease go all the same, and the failure is told', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'withdrawal-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'subnet.env');
  writeFileSync(file, 'FLANNEL_SUBNET=10.5.7.1/24\n');
  const kernel = new FakeKernel();
  kernel.failNext('links');
  await t.throwsAsync(withdraw(kernel, { macs: new Map(), networks: [], files: [file] }), { code: 'KERNEL' });
  t.false(existsSync(file));
  t.deepEqual(await withdraw(kernel, { macs: new Map(), networks: [], files: [file] }), { operations: [], files: [] });
});

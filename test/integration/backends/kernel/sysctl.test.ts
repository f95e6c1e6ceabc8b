import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import test from 'ava';
import { setSysctl } from '../../../../backends/kernel/sysctl.ts';
import { enterFreshNamespace, run } from '../../../support/netns.ts';
import { needs } from '../../../support/require.ts';

/** Of no consequence, wherever it should land. */
const NAME = 'net/ipv4/conf/lo/bootp_relay';

test('a setting of this namespace is made so, once; what is not there or not accepted is said', async (t) => {
  if (!needs(t, 'root', 'namespaces')) return;
  const outside = await readFile(`/proc/sys/${NAME}`, 'utf8');
  enterFreshNamespace();
  const value = readFileSync(`/proc/sys/${NAME}`, 'utf8').trim() === '0' ? '1' : '0';
  t.is(setSysctl(NAME, value), 'changed');
  t.is(run(`cat /proc/sys/${NAME}`).trim(), value);
  t.is(setSysctl(NAME, value), 'unchanged');
  t.is(await readFile(`/proc/sys/${NAME}`, 'utf8'), outside, 'the thread pool stayed outside');
  t.is(typeof setSysctl('net/ipv4/no_such_thing', '1'), 'object');
  t.is(typeof setSysctl(NAME, 'perhaps'), 'object');
});

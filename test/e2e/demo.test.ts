/** `npm run demo` as a user runs it: what it says, how it ends, and that nothing stays behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { eventually } from '../support/eventually.ts';
import { labProcessesOf } from '../support/ownership.ts';
import { needs } from '../support/require.ts';

const DEMO = fileURLToPath(new URL('../../deploy/demo.js', import.meta.url));

interface Run {
  readonly pid: number;
  readonly output: () => string;
  readonly ended: Promise<unknown>;
  readonly kill: (signal: NodeJS.Signals) => void;
}

function run(...args: readonly string[]): Run {
  const child = spawn(process.execPath, [DEMO, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
  }
  const ended = once(child, 'close').then(([status]) => status);
  return { pid: child.pid ?? -1, output: () => text, ended, kill: (signal) => child.kill(signal) };
}

test('the demo observes every step and leaves nothing behind', async (t) => {
  if (!needs(t, 'lab')) return;
  const demo = run();
  t.is(await demo.ended, 0, demo.output());
  t.regex(demo.output(), /every step observed/);
  t.false(demo.output().includes('\u001b'), 'no colours without a terminal');
  t.deepEqual(labProcessesOf(demo.pid), []);
});

test('Ctrl-C in the middle: it ends at once and cleans up', async (t) => {
  if (!needs(t, 'lab')) return;
  const demo = run();
  await eventually('agents are started', () => demo.output().includes('tartan run'), { context: demo.output });
  t.true(labProcessesOf(demo.pid).length > 4);
  demo.kill('SIGINT');
  t.is(await demo.ended, 130);
  t.deepEqual(labProcessesOf(demo.pid), []);
});

test('with --keep the hosts stay until Ctrl-C', async (t) => {
  if (!needs(t, 'lab')) return;
  const demo = run('--keep');
  const ready = () => /A container, and etcd:[\s\S]*etcdctl/.test(demo.output());
  await eventually('it says how to look around', ready, { timeoutMs: 120_000, context: demo.output });
  t.regex(demo.output(), /nsenter -t \d+ -n -m -u -i -- env .*bash/);
  t.true(labProcessesOf(demo.pid).length > 8);
  demo.kill('SIGINT');
  t.is(await demo.ended, 0, demo.output());
  t.deepEqual(labProcessesOf(demo.pid), []);
});

test('an argument that it does not know is refused', async (t) => {
  t.is(await run('--kepe').ended, 2);
});

/** The newest long-term Node runs the whole thing too, and what stands on Node's insides above all. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { isLacking } from '../support/lacking.ts';
import { newestNode } from '../support/newest-node.ts';
import { needs } from '../support/require.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

function runs(t: ExecutionContext, node: string, ...args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync(node, args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 1e8 });
  t.is(status, 0, `${stdout}\n${stderr}`);
}

for (const [title, args] of [
  ['the demo', ['dist/deploy/demo.js']],
  [
    'the kernel and etcd edges',
    [
      'node_modules/ava/entrypoints/cli.mjs',
      '--config=ava.system.config.js',
      'dist/test/integration/leases/late-write.test.js',
      'dist/test/integration/leases/watch.test.js',
      'dist/test/integration/backends/kernel/*.test.js',
    ],
  ],
] as const) {
  test(title, (t) => {
    const newest = newestNode();
    if (isLacking(t, newest.ok ? undefined : newest.reason) || !newest.ok) return;
    if (needs(t, 'lab')) runs(t, newest.path, ...args);
  });
}

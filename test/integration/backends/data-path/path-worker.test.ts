import { fileURLToPath } from 'node:url';
import test from 'ava';
import { PathWorker } from '../../../../backends/data-path/path-worker.ts';
import { eventually } from '../../../support/eventually.ts';

const HANGING = fileURLToPath(new URL('../../../support/hanging-worker.js', import.meta.url));

interface Heard {
  readonly worker: PathWorker;
  readonly ends: (Error | undefined)[];
}

function start(program?: string): Heard {
  const ends: (Error | undefined)[] = [];
  const listener = { heard: () => undefined, ended: (fault: Error | undefined) => ends.push(fault) };
  return { worker: new PathWorker('flannel0', new Set(['batches', 'wasm']), listener, program), ends };
}

test('a worker that waits in the kernel goes round when it is looked at, and stops when it is told to', async (t) => {
  const { worker, ends } = start();
  await eventually('a sign of life', () => worker.missedBeats() === 0 && worker.missedBeats() > 0);
  await eventually('another one', () => worker.missedBeats() === 0);
  worker.stop();
  await worker.ended;
  t.deepEqual(ends, [undefined]);
  t.is(worker.missedBeats(), 0);
  worker.stop();
});

test('a worker that hangs is told by its beats, and can be killed', async (t) => {
  const { worker, ends } = start(HANGING);
  await eventually('three looks without a sign of life', () => worker.missedBeats() >= 3);
  await worker.kill('it hangs');
  await worker.ended;
  t.deepEqual(
    ends.map((fault) => fault?.message),
    ['it hangs'],
  );
  await worker.kill('once more');
});

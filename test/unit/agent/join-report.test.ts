import test from 'ava';
import { JoinReport } from '../../../agent/join-report.ts';
import { silentLog } from '../../../config/log.ts';

function scene() {
  const phases: string[] = [];
  const logged: string[] = [];
  const log = { ...silentLog, error: (message: string) => void logged.push(message) };
  return { report: new JoinReport((phase) => void phases.push(phase), log), phases, logged };
}

test('what a claim ran into stays in sight while it is tried again, until something else is waited for', (t) => {
  const { report, phases } = scene();
  report.claiming();
  report.failed('waiting for a free subnet', 'every subnet is leased', 'RANGE_EXHAUSTED');
  report.claiming();
  report.waiting('waiting for etcd');
  report.claiming();
  t.deepEqual(phases, ['claiming a lease', 'waiting for a free subnet', 'waiting for etcd', 'claiming a lease']);
});

test('the log is told once, as long as the problem is the same', (t) => {
  const { report, logged } = scene();
  for (const problem of ['a', 'a', 'b', 'a']) report.tell(`refused: ${problem}`, {}, problem);
  t.deepEqual(logged, ['refused: a', 'refused: b', 'refused: a']);
});

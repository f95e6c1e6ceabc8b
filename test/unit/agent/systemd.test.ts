import test from 'ava';
import { watchdogIntervalMs } from '../../../agent/systemd.ts';

test('keep-alives go out at half the watchdog time', (t) => {
  t.is(watchdogIntervalMs({ WATCHDOG_USEC: '30000000' }, 10), 15_000);
  t.is(watchdogIntervalMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '10' }, 10), 15_000);
});

test('none where no watchdog is set, it is set for another process, or its value is none', (t) => {
  t.is(watchdogIntervalMs({}, 10), undefined);
  t.is(watchdogIntervalMs({ WATCHDOG_USEC: '30000000', WATCHDOG_PID: '11' }, 10), undefined);
  for (const WATCHDOG_USEC of ['', '0', '-1', 'soon']) t.is(watchdogIntervalMs({ WATCHDOG_USEC }, 10), undefined);
});

test('it is never a busy loop', (t) => {
  t.is(watchdogIntervalMs({ WATCHDOG_USEC: '1' }, 10), 1);
});

import test from 'ava';
import { HostPrograms } from '../../../../backends/firewall/programs.ts';

const host = new HostPrograms();
const shell = (script: string, options = {}) => host.run('sh', ['-c', script], options);

test('what it says, and what it is given', async (t) => {
  const outcome = await shell('cat; echo warned >&2', { input: 'a\nb\n' });
  t.deepEqual(outcome, { ok: true, stdout: 'a\nb\n', stderr: 'warned\n', failure: '' });
});

test('no such program is an answer, behind another too', async (t) => {
  t.is(await host.run('no-such-program', []), undefined);
  t.is(await new HostPrograms(['env']).run('no-such-program', []), undefined);
});

test('why it failed: what it said, else how it ended', async (t) => {
  t.is((await shell('echo no >&2; exit 3'))?.failure, 'sh: no');
  t.is((await shell('echo sh: no >&2; exit 3'))?.failure, 'sh: no');
  t.is((await shell('exit 3'))?.failure, 'sh: ended with status 3');
  t.is((await shell('kill -TERM $$'))?.failure, 'sh: ended by SIGTERM');
});

test('one that does not end is ended', async (t) => {
  const outcome = await host.run('sleep', ['600'], { timeLimitMs: 50 });
  t.deepEqual([outcome?.ok, outcome?.failure], [false, 'sleep: took longer than 0.05 s']);
});

test('the signal ends it, and run rejects with its reason', async (t) => {
  const stop = new AbortController();
  const run = host.run('sleep', ['600'], { signal: stop.signal });
  stop.abort(new Error('stopped'));
  await t.throwsAsync(run, { message: 'stopped' });
  await t.throwsAsync(shell('true', { signal: stop.signal }), { message: 'stopped' });
});

test('one that reads nothing of what it is given does no harm', async (t) => {
  t.true((await host.run('true', [], { input: 'x'.repeat(1 << 20) }))?.ok);
});

test("its language is fixed, and npm's programs are not the host's", async (t) => {
  t.is((await shell('echo $LC_ALL'))?.stdout, 'C\n');
  t.false((await shell('echo $PATH'))?.stdout.includes('/node_modules/.bin'));
  t.true((await shell('echo $PATH'))?.stdout.includes('/usr/sbin'));
});

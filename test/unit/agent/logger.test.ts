import { PassThrough, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import test from 'ava';
import fc from 'fast-check';
import { createLog, type LogFormat, resolveLogFormat } from '../../../agent/logger.ts';
import { TartanError } from '../../../config/errors.ts';
import type { Log } from '../../../config/log.ts';

type Said = readonly [format: LogFormat, speak: (log: Log) => void, level?: 'debug' | 'error'];

/** What is said before winston is loaded, or after. */
async function linesOf(isLoaded: boolean, ...[format, speak, level = 'debug']: Said): Promise<string> {
  const out = new PassThrough();
  const log = createLog({ level, format }, out);
  if (isLoaded) await log.load();
  speak(log);
  await new Promise((resolve) => setImmediate(resolve));
  out.end();
  return await text(out);
}

/** The same lines, whenever they are said. */
async function lines(...said: Said): Promise<string[]> {
  const [before, after] = [await linesOf(false, ...said), await linesOf(true, ...said)];
  const timeless = (text: string): string => text.replace(/\d\d:\d\d:\d\d\.\d{3}/g, 'TIME');
  if (timeless(before) !== timeless(after)) throw new Error(`${before} before, ${after} after`);
  return after.split('\n').filter((line) => line !== '');
}

const speak = (log: Log): void => {
  log.error('it failed', { error: new TartanError('KERNEL', 'no such device'), attempts: 3 });
  log.warn('odd', { note: 'two words', path: '/run/x', empty: '', missing: undefined });
  log.info('ready', { subnets: ['10.5.1.0/24'] });
  log.debug('seen');
};

test('journald: a priority, the message, the fields', async (t) => {
  t.deepEqual(await lines('journald', speak), [
    '<3>it failed error="KERNEL: no such device" attempts=3',
    '<4>odd note="two words" path=/run/x empty=""',
    '<6>ready subnets=["10.5.1.0/24"]',
    '<7>seen',
  ]);
});

test('human: time, level, the same', async (t) => {
  const found = await lines('human', speak);
  t.is(found.length, 4);
  t.regex(found[1] ?? '', /^\d\d:\d\d:\d\d\.\d{3} warn {2}odd note="two words" path=\/run\/x empty=""$/);
});

test('json: one object a line, level and message first', async (t) => {
  const [first] = await lines('json', speak);
  const { timestamp, ...rest } = JSON.parse(first ?? '');
  t.false(Number.isNaN(Date.parse(timestamp)));
  t.deepEqual(rest, { level: 'error', message: 'it failed', error: 'KERNEL: no such device', attempts: 3 });
  t.true(first?.startsWith('{"level":"error","message":"it failed"'));
});

test('the level keeps the rest out', async (t) => {
  t.deepEqual(await lines('journald', speak, 'error'), ['<3>it failed error="KERNEL: no such device" attempts=3']);
});

test('a field named like a part of the line changes nothing of it', async (t) => {
  const evil = (log: Log): void => log.info('constant', { message: 'forged', level: 'error' });
  t.deepEqual(await lines('journald', evil), ['<6>constant']);
  const [json] = await lines('json', evil);
  t.is(JSON.parse(json ?? '').message, 'constant');
});

test('no text from outside breaks the line, moves the cursor or makes another field', async (t) => {
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string(), fc.constantFrom('\u001b[2J', 'a b=c', '\u009b31m'));
  await fc.assert(
    fc.asyncProperty(text, async (key) => {
      const found = await lines('journald', (log) => log.info('m', { key, after: 1 }));
      t.is(found.length, 1);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
      t.notRegex(found[0] ?? '', /[\u0000-\u001f\u007f-\u009f]/);
      t.regex(found[0] ?? '', /^<6>m key=("([^"\\]|\\.)*"|[^" =]+) after=1$/);
    }),
    { numRuns: 50 },
  );
});

test('what can not be written as JSON is written all the same', async (t) => {
  const loop: { self?: unknown } = {};
  loop.self = loop;
  const found = await lines('journald', (log) => log.info('m', { big: 1n, loop }));
  t.is(found.length, 1);
});

test('the format: as asked, else by where stderr leads', (t) => {
  t.is(resolveLogFormat('auto', { isTerminal: true, journalStream: undefined }), 'human');
  t.is(resolveLogFormat('auto', { isTerminal: false, journalStream: '8:1234' }), 'journald');
  t.is(resolveLogFormat('auto', { isTerminal: false, journalStream: undefined }), 'json');
  t.is(resolveLogFormat('json', { isTerminal: true, journalStream: '8:1234' }), 'json');
});

test('a reader that is gone ends nobody', async (t) => {
  const out = new Writable({ write: (_chunk, _encoding, done) => done(new Error('EPIPE')) });
  const log = createLog({ level: 'info', format: 'human' }, out);
  log.info('unheard');
  await new Promise((resolve) => setImmediate(resolve));
  log.info('unheard');
  await new Promise((resolve) => setImmediate(resolve));
  t.pass();
});

test('what is said while winston is being loaded is in its place', async (t) => {
  const out = new PassThrough();
  const log = createLog({ level: 'info', format: 'journald' }, out);
  log.info('first');
  const loaded = log.load();
  log.info('second');
  await loaded;
  log.info('third');
  await new Promise((resolve) => setImmediate(resolve));
  out.end();
  t.is(await text(out), '<6>first\n<6>second\n<6>third\n');
});

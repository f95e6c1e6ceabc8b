import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { keepCode, keptCode } from '../../../agent/code-cache.ts';

const WHOSE = { script: '// abc', runtime: 'v20.0.0' };
const CODE = Buffer.from('what V8 gave');

function directory(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'tartan-code-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('what was kept is found again, by the same Node for the same script', async (t) => {
  const path = join(directory(t), 'x.code');
  t.is(keptCode(path, WHOSE), undefined);
  t.true(await keepCode(path, WHOSE, CODE));
  t.deepEqual(keptCode(path, WHOSE), CODE);
  t.is(keptCode(path, { ...WHOSE, script: '// abd' }), undefined);
  t.is(keptCode(path, { ...WHOSE, runtime: 'v24.0.0' }), undefined);
});

test('another one takes its place, and nothing else is left', async (t) => {
  const place = directory(t);
  const path = join(place, 'x.code');
  t.true(await keepCode(path, WHOSE, CODE));
  t.true(await keepCode(path, { ...WHOSE, script: '// new' }, Buffer.from('other')));
  t.is(keptCode(path, WHOSE), undefined);
  t.is(keptCode(path, { ...WHOSE, script: '// new' })?.toString(), 'other');
  t.deepEqual(readdirSync(place), ['x.code']);
});

test('a damaged file is none, whatever is damaged in it', async (t) => {
  const path = join(directory(t), 'x.code');
  await keepCode(path, WHOSE, CODE);
  const whole = readFileSync(path);
  for (const [place] of whole.entries()) {
    const damaged = Buffer.from(whole);
    damaged.writeUInt8(whole.readUInt8(place) ^ 1, place);
    writeFileSync(path, damaged);
    t.is(keptCode(path, WHOSE), undefined, `byte ${place}`);
    writeFileSync(path, whole.subarray(0, place));
    t.is(keptCode(path, WHOSE), undefined, `${place} bytes`);
  }
  writeFileSync(path, whole);
  t.deepEqual(keptCode(path, WHOSE), CODE);
});

test('what others may write is neither believed nor written', async (t) => {
  const place = directory(t);
  const path = join(place, 'x.code');
  await keepCode(path, WHOSE, CODE);
  for (const mode of [0o666, 0o664, 0o646]) {
    chmodSync(path, mode);
    t.is(keptCode(path, WHOSE), undefined, mode.toString(8));
  }
  chmodSync(place, 0o1777);
  t.false(await keepCode(path, WHOSE, CODE));
  t.deepEqual(readdirSync(place), ['x.code']);
});

test('no file: a directory, a device, a path through a file', async (t) => {
  const place = directory(t);
  symlinkSync('/dev/zero', join(place, 'zero'));
  for (const path of [place, join(place, 'zero'), '/dev/null/x.code']) t.is(keptCode(path, WHOSE), undefined, path);
  t.false(await keepCode(join(place, 'missing', 'x.code'), WHOSE, CODE));
  t.false(await keepCode(place, WHOSE, CODE));
  writeFileSync(join(place, 'file'), '');
  t.false(await keepCode(join(place, 'file', 'x.code'), WHOSE, CODE));
  rmSync(join(place, 'file'));
  t.deepEqual(readdirSync(place), ['zero']);
});

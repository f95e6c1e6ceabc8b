import test from 'ava';
import { fileOf } from '../../support/test-file.ts';

const FILES = [
  'dist/test/e2e/demo.test.js',
  'dist/test/integration/agent/down.test.js',
  'dist/test/integration/down.test.js',
];

test('a title names its file, whatever folders all files share', (t) => {
  t.is(fileOf('e2e › demo › it runs', FILES), FILES[0]);
  t.is(fileOf('demo › it runs', FILES), FILES[0]);
  t.is(fileOf('integration › agent › down › twice', FILES), FILES[1]);
  t.is(fileOf('integration › down › twice', FILES), FILES[2]);
});

test('a run of one file has bare titles', (t) => {
  t.is(fileOf('it runs', ['dist/test/e2e/demo.test.js']), 'dist/test/e2e/demo.test.js');
});

test('what is no title of a test has no file', (t) => {
  t.is(fileOf('biome check', FILES), undefined);
  t.is(fileOf('ava ava.system.config.js', FILES), undefined);
});

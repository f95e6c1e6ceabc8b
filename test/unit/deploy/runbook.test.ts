import { readdirSync } from 'node:fs';
import test from 'ava';
import { ERRORS } from '../../../config/errors.ts';
import { inRepository, readRepository } from '../../support/repository.ts';

const README = readRepository('deploy/README.md');

test('the runbook has every error code with its exit status, its meaning, where to look and the cure', (t) => {
  const written = README.matchAll(/^#### `(\w+)`: exit (\d+)\n> (.+)\n\nLook at: .+ Cure: .+$/gm);
  const documented = Array.from(written, ([, code, exit, meaning]) => [code, { exit: Number(exit), meaning }]);
  t.deepEqual(Object.fromEntries(documented), ERRORS);
});

test('the table of files names every file that an operator installs', (t) => {
  const installed = readdirSync(inRepository('deploy'), { recursive: true, encoding: 'utf8' }).filter((path) =>
    /\.(service|conf|network|yaml)$|^Dockerfile$/.test(path),
  );
  t.true(installed.length >= 8);
  for (const path of installed) t.true(README.includes(`| \`${path}\` |`), path);
});

test('no code is documented that does not exist', (t) => {
  const mentioned = README.match(/`[A-Z]+(?:_[A-Z]+)*`/g) ?? [];
  const ours = mentioned.map((word) => word.slice(1, -1)).filter((word) => /^(CONFIG|ETCD|LEASE|RANGE)_/.test(word));
  for (const code of ours) t.true(code in ERRORS, code);
});

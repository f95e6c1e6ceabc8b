import test from 'ava';
import { COMMAND_NAMES } from '../../config/commands.ts';
import { optionTableMarkdown } from '../../config/help.ts';
import { dockerMatrixMarkdown } from '../support/docker-matrix.ts';
import { readRepository } from '../support/repository.ts';

test('the README has the table of options as it is', (t) => {
  const readme = readRepository('README.md');
  const between = readme.split('<!-- options -->')[1]?.split('<!-- /options -->')[0];
  t.is(between?.trim(), optionTableMarkdown().trim());
});

test('the README has the table of Dockers as it is tested', (t) => {
  const between = readRepository('README.md').split('<!-- docker -->')[1]?.split('<!-- /docker -->')[0];
  t.is(between?.trim(), dockerMatrixMarkdown());
});

test('the README names every command', (t) => {
  const readme = readRepository('README.md');
  for (const name of COMMAND_NAMES) {
    const [first = '', second] = name.split(' ');
    const words =
      second === undefined
        ? new RegExp(`tartan \\[?${first}\\b|\`${first}\``)
        : new RegExp(`tartan ${first} [^\`]*${second}`);
    t.regex(readme, words, name);
  }
});

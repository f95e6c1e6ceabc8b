import { readFileSync } from 'node:fs';
import test from 'ava';
import { COMMAND_NAMES } from '../../../config/commands.ts';
import { helpText, optionTableMarkdown } from '../../../config/help.ts';
import { flagName, isTakenBy, OPTION_KEYS } from '../../../config/options.ts';

test('help is the golden text', (t) => t.is(helpText(), readFileSync('test/golden/help.txt', 'utf8')));

test('help fits into 100 columns', (t) => {
  for (const command of [undefined, ...COMMAND_NAMES]) {
    for (const line of helpText(command).split('\n')) t.true(line.length <= 100, line);
  }
});

test("a command's help names exactly its options", (t) => {
  for (const command of COMMAND_NAMES) {
    const named = [...helpText(command).matchAll(/^ {2}--([a-z0-9-]+)/gm)].map((match) => match[1]);
    const taken = OPTION_KEYS.filter((key) => isTakenBy(key, command)).map(flagName);
    if (command === 'docker opts') taken.push('format');
    t.deepEqual(named.sort(), taken.sort(), command);
  }
});

test('the first word of two explains all commands that begin with it', (t) => {
  for (const command of ['config get', 'config set', 'config check'])
    t.true(helpText('config').includes(helpText(command)));
  t.is(helpText('no such thing'), helpText());
});

test('the table has a row of five cells for each option', (t) => {
  const rows = optionTableMarkdown().trimEnd().split('\n').slice(2);
  t.is(rows.length, OPTION_KEYS.length);
  for (const row of rows) t.is(row.split(/(?<!\\)\|/).length, 7, row);
  for (const key of OPTION_KEYS) t.true(rows.some((row) => row.startsWith(`| \`--${flagName(key)}`)));
});

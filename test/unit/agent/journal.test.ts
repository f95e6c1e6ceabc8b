import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import {
  changedSysctls,
  EMPTY_JOURNAL,
  formatJournal,
  missingDirectories,
  parseJournal,
  withPlaces,
  withSysctls,
} from '../../../agent/journal.ts';

const FORWARD = 'net/ipv4/ip_forward';

test('what is written first stays, until the host is booted again', (t) => {
  const first = withSysctls(EMPTY_JOURNAL, 'boot1', new Map([[FORWARD, '0']]));
  const again = withSysctls(first, 'boot1', new Map([[FORWARD, '1']]));
  t.deepEqual([...changedSysctls(again, 'boot1')], [[FORWARD, '0']]);
  t.deepEqual([...changedSysctls(again, 'boot2')], [], 'the host came up with its own settings');
  const booted = withSysctls(again, 'boot2', new Map([[FORWARD, '2']]));
  t.deepEqual([...changedSysctls(booted, 'boot2')], [[FORWARD, '2']]);
});

test('only settings of the network are put back, and nothing above them', (t) => {
  const sysctls = {
    [FORWARD]: '0',
    'net/ipv4/conf/eth0.7/forwarding': '1',
    'kernel/core_pattern': '|/bin/sh',
    'net/ipv4/../../kernel/core_pattern': '|/bin/sh',
    'net/ipv4/..': 'x',
    '/net/ipv4/ip_forward': '1',
    'net/ipv4/conf/x/forwarding': 1,
  };
  t.deepEqual([...parseJournal({ sysctls }).sysctls.keys()], [FORWARD, 'net/ipv4/conf/eth0.7/forwarding']);
});

test('places are written down once', (t) => {
  const once = withPlaces(EMPTY_JOURNAL, ['/run/flannel'], '/run/flannel/subnet.sock');
  t.deepEqual(withPlaces(once, ['/run/flannel'], '/run/flannel/subnet.sock'), once);
  t.deepEqual(withPlaces(once, ['/run/x'], '/run/x/sock').sockets, ['/run/flannel/subnet.sock', '/run/x/sock']);
});

test('directories that are missing, the outermost first', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-journal-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  mkdirSync(join(dir, 'there'));
  const files = ['a/b/file', 'there/file', 'a/other'].map((file) => join(dir, file));
  t.deepEqual(missingDirectories(files), [join(dir, 'a'), join(dir, 'a/b')]);
});

test('whatever is in the file gives a journal that is read as it is written', (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (sysctls, directories, boot) => {
      const journal = parseJournal({ sysctls, directories, boot, sockets: directories });
      t.deepEqual(parseJournal(JSON.parse(JSON.stringify(formatJournal(journal)))), journal);
    }),
  );
  t.deepEqual(parseJournal(undefined), EMPTY_JOURNAL);
});

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import {
  type AgentMemory,
  formatMemory,
  loadMemory,
  parseMemory,
  saveMemory,
  seal,
} from '../../../agent/state-file.ts';
import { parseMac } from '../../../config/address.ts';
import { ip, prefix } from '../../support/addresses.ts';

const CLAIM = '0123456789abcdef0123456789abcdef';
const mac = parseMac('c2:88:f0:5b:5f:ac');

const memory: AgentMemory = {
  claim: CLAIM,
  held: {
    ...{ key: '/coreos.com/network/subnets/10.5.66.0-24', value: '{"PublicIP":"192.0.2.1"}', etcdLease: '7587' },
    ...{ subnet: prefix('10.5.66.0/24'), subnet6: prefix('fd00:5:0:12::/64'), publicIp: ip('192.0.2.1') },
    ...{ sideLease: '7587', ttlSeconds: 86_400, expiresAt: 1_800_000_000_000, modRevision: 9 },
    ...{ clusterId: '14841639068965178418', seen: { clusterId: '14841639068965178418', revision: 12, term: 3 } },
  },
  macs: new Map([
    ['flannel.1', mac],
    ['flannel0', undefined],
  ]),
  networks: [prefix('10.5.0.0/16'), prefix('fd00:5::/48')],
  files: ['/run/flannel/subnet.env', '/run/flannel/docker'],
  journal: {
    ...{ boot: '2c1f5d0e', sysctls: new Map([['net/ipv4/ip_forward', '0']]) },
    ...{ directories: ['/var/lib/tartan', '/run/flannel'], sockets: ['/run/flannel/subnet.sock'] },
  },
};

function directory(t: ExecutionContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'tartan-state-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  return dir;
}

test('what is written is read again', (t) => {
  t.deepEqual(parseMemory(formatMemory(memory)), { memory, problem: undefined });
  const noted = { ...memory, hasRivals: true, adoptedAt: 1_700_000_000_000 };
  t.deepEqual(parseMemory(formatMemory(noted)), { memory: noted, problem: undefined });
});

test('a reservation has no expiry, and a lease of one family no other subnet', (t) => {
  const held = memory.held && {
    ...memory.held,
    etcdLease: '0',
    expiresAt: Number.POSITIVE_INFINITY,
    subnet6: undefined,
  };
  t.deepEqual(parseMemory(formatMemory({ ...memory, held })).memory.held, held);
});

test('without a file the memory is fresh, with a claim id of its own, and nothing is wrong', (t) => {
  const [one, other] = [parseMemory(undefined), parseMemory(undefined)];
  t.is(one.problem, undefined);
  t.regex(one.memory.claim, /^[0-9a-f]{32}$/);
  t.not(one.memory.claim, other.memory.claim);
});

test('a file cut off anywhere is not believed, not even in part', (t) => {
  const text = formatMemory(memory);
  for (let length = 0; length < text.length; length++) {
    const read = parseMemory(text.slice(0, length));
    t.truthy(read.problem, `cut at ${length}`);
    t.not(read.memory.claim, CLAIM);
    t.is(read.memory.held, undefined);
  }
});

const FOREIGN: readonly [string, string][] = [
  ['nothing', ''],
  ['zeros, as after a power cut', '\0'.repeat(200)],
  ['a list', '[]'],
  ['null', 'null'],
  ['another version', seal({ version: 2, claim: CLAIM })],
  ['no claim id', seal({ version: 1, claim: 'me' })],
  ['no checksum', `{"version":1,"claim":"${CLAIM}"}\n`],
];
for (const [what, text] of FOREIGN) {
  test(`a foreign file is not believed: ${what}`, (t) => {
    const { problem, memory: found } = parseMemory(text);
    t.truthy(problem);
    t.is(found.held, undefined);
    t.deepEqual([...found.files, ...found.networks, ...found.macs], []);
  });
}

test('a lease that makes no sense is reported; who we are stays', (t) => {
  const { problem, memory: found } = parseMemory(seal({ version: 1, claim: CLAIM, held: { subnet: '10.5.66.0/99' } }));
  t.truthy(problem);
  t.is(found.claim, CLAIM);
  t.is(found.held, undefined);
});

test('a file with one other character anywhere is not believed', (t) => {
  const text = formatMemory(memory);
  fc.assert(
    fc.property(
      fc.nat(text.length - 1),
      fc.string({ minLength: 1, maxLength: 1, unit: 'grapheme-ascii' }),
      (at, other) => {
        const changed = `${text.slice(0, at)}${other}${text.slice(at + 1)}`;
        // A space for a space between tokens says nothing else.
        if (changed.replace(/\s/g, '') === text.replace(/\s/g, '')) return;
        t.truthy(parseMemory(changed).problem, changed);
      },
    ),
  );
});

test('any text gives a memory that can be written', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), fc.string({ unit: 'binary' })), (text) => {
      t.regex(parseMemory(text).memory.claim, /^[0-9a-f]{32}$/);
    }),
  );
});

test('any fields beside a good version and claim give a memory that is read as it is written', (t) => {
  const fields = fc.record({
    held: fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom('key', 'subnet', 'revision'), fc.jsonValue())),
    macs: fc.jsonValue(),
    networks: fc.oneof(fc.jsonValue(), fc.array(fc.jsonValue())),
    files: fc.oneof(fc.jsonValue(), fc.array(fc.jsonValue())),
  });
  fc.assert(
    fc.property(fields, (rest) => {
      const read = parseMemory(seal({ version: 1, claim: CLAIM, ...rest }));
      t.deepEqual(parseMemory(formatMemory(read.memory)).memory, read.memory);
    }),
  );
});

test('a damaged file is kept beside', async (t) => {
  const dir = directory(t);
  writeFileSync(join(dir, 'state.json'), 'half');
  const { problem } = await loadMemory(dir);
  t.truthy(problem);
  t.is(readFileSync(join(dir, 'state.json.damaged'), 'utf8'), 'half');
});

test('the file is for root alone', async (t) => {
  const dir = directory(t);
  await saveMemory(dir, memory);
  t.is(statSync(join(dir, 'state.json')).mode & 0o777, 0o600);
  t.deepEqual((await loadMemory(dir)).memory, memory);
});

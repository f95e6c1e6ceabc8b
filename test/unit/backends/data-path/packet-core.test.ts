import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import * as numbers from '../../../../backends/data-path/core/counters.ts';
import * as layout from '../../../../backends/data-path/core/layout.ts';
import { MESSAGE_BYTES } from '../../../../backends/data-path/core/messages.ts';
import { COUNTERS } from '../../../../backends/data-path/counters.ts';
import { openPacketCore, PLACES } from '../../../../backends/data-path/packet-core.ts';
import { PlainExchange } from '../../../../backends/data-path/plain-exchange.ts';
import type { Prefix } from '../../../../config/address.ts';
import { currentModule, HERE, PEER, PEER_OUTER, THERE, UDP } from '../../../support/packet-cores.ts';
import { udpPacket } from '../../../support/packets.ts';
import { inRepository, readRepository } from '../../../support/repository.ts';

const OFFLOADS = { grouping: true, mergingTcp: true, mergingUdp: true };

test('counters have the names of their numbers', (t) => {
  const special: Readonly<Record<string, string>> = {
    TX_MESSAGES_MADE: 'tx-messages',
    RX_MESSAGES_TAKEN: 'rx-messages',
    RX_WRITES_MADE: 'rx-writes',
  };
  const { COUNTER_COUNT, ...named } = numbers;
  const names = Object.entries(named).flatMap(([name, number]) =>
    typeof number === 'number' ? [[number, special[name] ?? name.toLowerCase().replaceAll('_', '-')] as const] : [],
  );
  t.deepEqual(
    names.sort(([a], [b]) => a - b),
    COUNTERS.map(({ name }, i) => [i, name]),
  );
  t.is(COUNTER_COUNT, COUNTERS.length);
  t.true(COUNTERS.every(({ help }) => /^[A-Z].*\.$/.test(help)));
});

test('every counter is in the README', (t) => {
  const text = readRepository('backends/data-path/core/README.md');
  const rows = COUNTERS.map(({ name, kind, help }) => `| \`${name}\` | ${kind} | ${help} |`).join('\n');
  t.true(text.includes(`|---|---|---|\n${rows}\n`));
});

test('what lies in memory lies apart', (t) => {
  const l = layout;
  const places: readonly (readonly [number, number])[] = [
    [l.SCRATCH, l.SCRATCH_BYTES],
    [l.COUNTERS_AT, 8 * COUNTERS.length],
    [l.ZERO_HEADER, 16],
    [l.LENGTHS4, 4 + 33 * 20],
    [l.LENGTHS6, 4 + 129 * 20],
    [l.LENGTH_USES, 4 * (33 + 129)],
    [l.OWN, 4 + 16 * 36],
    [l.NETWORKS, 4 + 16 * 36],
    [l.SAMPLES, 4 + 32 * 48],
    [l.REPLIES, 16 * 256],
    [l.REPLY_WRITES, 16 * 8],
    [l.REPLY_IOVS, 16 * 16],
    [l.TX_MESSAGES, l.TX_MESSAGES_MAX * 64],
    [l.TX_CONTROLS, l.TX_MESSAGES_MAX * 32],
    [l.TX_IOVS, l.TX_IOVS_MAX * 16],
    [l.TX_SPLIT, 64 * 64],
    [l.RX_MESSAGES, l.RX_MESSAGES_MAX * 64],
    [l.RX_CONTROLS, l.RX_MESSAGES_MAX * 32],
    [l.RX_NAMES, l.RX_MESSAGES_MAX * 32],
    [l.RX_BUFFER_IOVS, l.RX_MESSAGES_MAX * 16],
    [l.RX_WRITES, l.RX_WRITES_MAX * 8],
    [l.RX_HEADERS, l.RX_WRITES_MAX * 16],
    [l.RX_IOVS, l.RX_IOVS_MAX * 16],
    [l.TX_HEADERS, 2048 * 272],
    [l.TX_FRAMES, l.TX_FRAMES_END - l.TX_FRAMES],
    [l.TX_NAMES, l.TX_MESSAGES_MAX * 28],
    [l.RX_BUFFERS, l.RX_MESSAGES_MAX * l.RX_BUFFER_BYTES],
    [l.PEERS, l.PEERS_MAX * 32],
    [l.TABLE, l.TABLE_SLOTS * 32],
    [l.MEMORY_BYTES, 0],
  ];
  for (const [i, [at, bytes]] of places.entries()) {
    t.true(at + bytes <= (places[i + 1]?.[0] ?? at), `0x${at.toString(16)}`);
    t.is(at % 8, 0);
  }
  t.is(PLACES.messageBytes, MESSAGE_BYTES);
});

test('without the module, or with one that this machine does not run, it is JavaScript', async (t) => {
  t.is((await openPacketCore(undefined)).kind, 'js');
  t.is((await openPacketCore(Buffer.from('no module'))).kind, 'js');
});

test('the module is small, asks for nothing, and its memory never grows', async (t) => {
  const module = await currentModule();
  t.true(module.length < 24_000, `${module.length} bytes`);
  const core = await openPacketCore(module);
  t.is(core.kind, 'wasm');
  t.is(core.memory.byteLength, layout.MEMORY_BYTES);
});

test('where entries lie in the table is drawn for each core', async (t) => {
  const module = await currentModule();
  const table = async (seed?: number): Promise<Buffer> => {
    const core = await openPacketCore(module, seed);
    core.configure(UDP, 0n, OFFLOADS);
    core.setPeer('a', PEER);
    return Buffer.from(core.memory).subarray(layout.TABLE);
  };
  t.true((await table(7)).equals(await table(7)));
  t.false((await table(7)).equals(await table(8)));
  t.false((await table()).equals(await table()));
});

test('every source is portable: only memory.ts differs', (t) => {
  const core = inRepository('backends/data-path/core');
  for (const name of readdirSync(core).filter((each) => each !== 'memory.ts' && each.endsWith('.ts'))) {
    const text = readFileSync(`${core}/${name}`, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    t.notRegex(text, /Math\.|>>> 0|\bnew\b|\[\s*[a-z]+\s*\]|\bany\b/, name);
  }
  const exported = (name: string): string[] =>
    [...readFileSync(`${core}/${name}`, 'utf8').matchAll(/^export function (\w+)/gm)].map(([, it]) => it ?? '').sort();
  t.deepEqual(exported('memory.ts'), exported('memory.assemblyscript'));
});

test('more prefixes than there is room for are refused', async (t) => {
  const core = await openPacketCore(undefined);
  const prefixes = Array.from({ length: 17 }, (_, i) => `10.${i}.0.0/16` as Prefix);
  t.throws(() => core.configure({ ...UDP, own: prefixes }, 0n, OFFLOADS), { instanceOf: RangeError });
  t.throws(() => core.configure({ ...UDP, networks: prefixes }, 0n, OFFLOADS), { instanceOf: RangeError });
  t.notThrows(() => core.configure({ ...UDP, networks: prefixes.slice(1) }, 0n, OFFLOADS));
});

test('counters are given as either kind of number', async (t) => {
  const core = await openPacketCore(undefined);
  core.configure(UDP, 0n, OFFLOADS);
  core.txReset();
  core.tx(10);
  const floats = new Float64Array(COUNTERS.length);
  const integers = new BigUint64Array(COUNTERS.length);
  core.copyCounters(floats);
  core.copyCounters(integers);
  t.deepEqual([...integers].map(Number), [...floats]);
  t.is(floats[COUNTERS.findIndex(({ name }) => name === 'tx-short')], 1);
});

test('what the kernel cut off, or claims to have received beyond the buffer, is dropped', async (t) => {
  const core = await openPacketCore(undefined);
  core.configure({ ...UDP, filter: 'off' }, 0n, OFFLOADS);
  const memory = Buffer.from(core.memory);
  const packet = udpPacket({ from: THERE, to: HERE }, Buffer.alloc(20));
  const exchange = new PlainExchange(core, 0n);
  const written = (at: number, value: number): number => {
    core.rxPrepare(1);
    exchange.putDatagram(0, { data: packet, address: PEER_OUTER });
    memory.writeInt32LE(value, PLACES.rxMessages + at);
    return core.rx(1);
  };
  const truncated = (): number => {
    const counters = new Float64Array(COUNTERS.length);
    core.copyCounters(counters);
    return counters[numbers.RX_TRUNCATED] ?? 0;
  };
  t.is(written(48, 0), 1);
  const before = truncated();
  for (const [at, value] of [
    [48, 0x20],
    [56, 0x10001],
    [56, -1],
  ] as const) {
    t.is(written(at, value), 0);
  }
  t.is(truncated() - before, 3);
  // More messages than there are.
  core.rxPrepare(1000);
  t.is(core.rx(1000), 0);
});

test('a counter goes on beyond 32 bits', async (t) => {
  const core = await openPacketCore(undefined);
  const counted = (): number => {
    const counters = new Float64Array(COUNTERS.length);
    core.copyCounters(counters);
    return counters[numbers.RX_BYTES] ?? 0;
  };
  const before = counted();
  for (let i = 1; i <= 9; i++) {
    numbers.count(numbers.RX_BYTES, 0x7fff_fff1);
    t.is(counted() - before, i * 0x7fff_fff1);
  }
});

/**
 * `node dist/test/bench/packet-core.js`: how fast the packet core is alone, without kernel and wire: median of several
 * rounds, as WebAssembly and as JavaScript. After `npm run build`.
 */

import { openPacketCore, type PacketCore, PLACES, shippedPacketCore } from '../../backends/data-path/packet-core.ts';
import type { PathSettings } from '../../backends/data-path/path-settings.ts';
import { PlainExchange } from '../../backends/data-path/plain-exchange.ts';
import { type Ip, ipFromBigInt, type Mac, type Prefix } from '../../config/address.ts';
import { ethernet, tcpPacket, udpPacket, virtioHeader, vxlan, withPartialChecksum } from '../support/packets.ts';

const ADDRESS = 0x7f0000000000n;
const OURS = '02:00:00:00:00:01' as Mac;
const THEIRS = '02:00:00:00:00:02' as Mac;
const LOCAL = '192.0.2.1' as Ip;
const PEER = '192.0.2.2' as Ip;
const HERE = '10.1.1.5' as Ip;
const THERE = '10.1.2.5' as Ip;
const ROUNDS = 15;
const ROUND_MS = 60;

type Kind = 'udp' | 'vxlan';

interface Load {
  readonly name: string;
  /** Of payload, in one run. */
  readonly bytes: number;
  readonly packets: number;
  readonly run: () => void;
}

function settings(kind: Kind): PathSettings {
  return {
    device: 'flannel0',
    encapsulation: kind === 'udp' ? { kind } : { kind, vni: 1, mac: OURS },
    local: LOCAL,
    port: 8285,
    mtuBytes: kind === 'udp' ? 1472 : 1450,
    own: ['10.1.1.0/24' as Prefix],
    networks: ['10.0.0.0/8' as Prefix],
    filter: 'enforce',
  };
}

function addPeers(core: PacketCore, count: number): void {
  core.setPeer('the peer', { endpoint: PEER, sources: [PEER], subnets: ['10.1.2.0/24' as Prefix], mac: THEIRS });
  for (let i = 1; i < count; i++) {
    const endpoint = ipFromBigInt(0xac100000n + BigInt(i), 4);
    const subnet = `${ipFromBigInt(0x0a100000n + BigInt(i * 256), 4)}/24` as Prefix;
    const mac = `02:01:00:00:${Buffer.from([i >>> 8, i])
      .toString('hex')
      .replace(/^../, '$&:')}` as Mac;
    core.setPeer(`peer ${i}`, { endpoint, sources: [endpoint], subnets: [subnet], mac });
  }
}

/** A frame that is sent again and again, so that a batch is full. */
function sending(
  name: string,
  core: PacketCore,
  exchange: PlainExchange,
  frame: Buffer,
  virtio: Buffer,
  size: number,
): Load {
  core.txReset();
  let places: number[] = [];
  while (exchange.putFrame(frame, virtio)) places.push(core.txPointer());
  places = places.slice(0, -1);
  const saved = Buffer.concat([virtio, frame]);
  const memory = Buffer.from(core.memory);
  const run = (): void => {
    core.txReset();
    for (let i = 0; i <= places.length; i++) {
      // What the core wrote over: the kernel would have read these anew.
      saved.copy(memory, core.txPointer(), 0, 100);
      core.tx(saved.length);
    }
    core.txDone();
  };
  const packets = Math.ceil((frame.length - 60) / size);
  return { name, bytes: (places.length + 1) * frame.length, packets: (places.length + 1) * packets, run };
}

/** A train of datagrams in every receive buffer. */
function receiving(name: string, core: PacketCore, exchange: PlainExchange, train: readonly Buffer[]): Load {
  const messages = PLACES.rxMessageCount;
  const data = Buffer.concat(train);
  const first = train[0] ?? Buffer.alloc(0);
  core.rxPrepare(messages);
  const memory = Buffer.from(core.memory);
  const starts: number[] = [];
  for (let i = 0; i < messages; i++) {
    exchange.putDatagram(i, { data, address: PEER }, first.length);
    const iov = Number(memory.readBigUInt64LE(PLACES.rxMessages + i * PLACES.messageBytes + 16) - ADDRESS);
    starts.push(Number(memory.readBigUInt64LE(iov) - ADDRESS));
  }
  const run = (): void => {
    // Headers that the core changed are put back.
    for (const start of starts) {
      let at = 0;
      for (const datagram of train) {
        datagram.copy(memory, start + at, 0, 100);
        at += datagram.length;
      }
    }
    for (let writes = core.rx(messages); writes > 0; ) writes = core.rxMore();
  };
  return { name, bytes: messages * data.length, packets: messages * train.length, run };
}

function loads(kind: Kind, core: PacketCore): readonly Load[] {
  const exchange = new PlainExchange(core, ADDRESS);
  const link = kind === 'udp' ? 0 : 14;
  const mtu = kind === 'udp' ? 1472 : 1450;
  const frame = (packet: Buffer, out: boolean): Buffer =>
    kind === 'udp' ? packet : out ? ethernet(OURS, THEIRS, packet) : vxlan(1, ethernet(THEIRS, OURS, packet));
  const options = Buffer.from('0101080a0000000100000002', 'hex');
  const mss = mtu - 52;
  const whole = withPartialChecksum(tcpPacket({ from: HERE, to: THERE, options }, Buffer.alloc(44 * mss, 7)));
  const small = withPartialChecksum(udpPacket({ from: HERE, to: THERE }, Buffer.alloc(200, 7)));
  const back = { from: THERE, to: HERE };
  const segments = Array.from({ length: 44 }, (_, i) =>
    frame(tcpPacket({ ...back, options, sequence: i * mss }, Buffer.alloc(mss, 7)), false),
  );
  const datagrams = Array.from({ length: 64 }, (_, i) =>
    frame(udpPacket({ ...back, id: i }, Buffer.alloc(200, 7)), false),
  );
  return [
    sending('tcp 64 KB out', core, exchange, frame(whole, true), virtioHeader(whole, link, mss), mss),
    sending('udp 200 B out', core, exchange, frame(small, true), virtioHeader(small, link), 1e6),
    receiving('tcp 64 KB in', core, exchange, segments),
    receiving('udp 200 B in', core, exchange, datagrams),
  ];
}

/** Nanoseconds of the processor's time for one run: others on the machine cost nothing. */
function measure({ run }: Load): number {
  const begun = process.cpuUsage();
  let runs = 0;
  for (;;) {
    for (let i = 0; i < 8; i++) run();
    runs += 8;
    const { user, system } = process.cpuUsage(begun);
    if (user + system > ROUND_MS * 1000) return ((user + system) * 1000) / runs;
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >>> 1] ?? 0;
}

for (const [form, wasm] of [
  ['wasm', shippedPacketCore()],
  ['js', undefined],
] as const) {
  for (const kind of ['udp', 'vxlan'] as const) {
    for (const peers of [1, 20_000]) {
      const core = await openPacketCore(wasm);
      for (const key of Array.from({ length: 20_000 }, (_, i) => `peer ${i}`)) core.removePeer(key);
      core.configure(settings(kind), ADDRESS, { grouping: true, mergingTcp: true, mergingUdp: true });
      addPeers(core, peers);
      for (const load of loads(kind, core)) {
        measure(load);
        const ns = median(Array.from({ length: ROUNDS }, () => measure(load)));
        const rate = `${((load.bytes * 8) / ns).toFixed(1).padStart(6)} Gb/s ${(ns / load.packets).toFixed(1).padStart(7)} ns/packet`;
        console.log(
          `${form.padEnd(5)} ${kind.padEnd(6)} ${String(peers).padStart(6)} peers  ${load.name.padEnd(14)} ${rate}`,
        );
      }
    }
  }
}

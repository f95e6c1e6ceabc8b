/** Two hosts with a data path each, or with a kernel VXLAN device at the far one; and traffic between them. */
import { createHash, type Hash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import type { ExecutionContext } from 'ava';
import { DataPath } from '../../../../backends/data-path/data-path.ts';
import type { PathPeer } from '../../../../backends/data-path/path-peer.ts';
import type { PathSettings } from '../../../../backends/data-path/path-settings.ts';
import { makeTun } from '../../../../backends/kernel/tun.ts';
import type { DataPathFeature } from '../../../../config/data-path-features.ts';
import { type Log, silentLog } from '../../../../config/log.ts';
import { ip, mac, prefix } from '../../../support/addresses.ts';
import type { FarSide } from '../../../support/far-side.ts';
import { run } from '../../../support/netns.ts';
import { realClock } from '../../../support/real-clock.ts';

export type Wire = 'udp' | 'vxlan' | 'vxlan over IPv6';

export interface Side {
  /** 1 near, 2 far. */
  readonly number: 1 | 2;
  /** Runs a command there. */
  readonly run: (command: string) => string;
}

export const NEAR: Side = { number: 1, run };

export function farSide(far: FarSide): Side {
  return { number: 2, run: (command) => far.run(command) };
}

export function deviceOf(wire: Wire): string {
  return wire === 'udp' ? 'flannel0' : wire === 'vxlan' ? 'flannel.1' : 'flannel-v6.1';
}

/** `10.99.1.0` of the near one, `10.99.2.0` of the far one. */
export function addressOf(wire: Wire, number: number): string {
  return wire === 'vxlan over IPv6' ? `fd99:0:0:${number}::` : `10.99.${number}.0`;
}

function subnetOf(wire: Wire, number: number): string {
  return `${addressOf(wire, number)}/${wire === 'vxlan over IPv6' ? 64 : 24}`;
}

function outerOf(wire: Wire, number: number): string {
  return wire === 'vxlan over IPv6' ? `fd00::${number}` : `192.0.2.${number}`;
}

function macOf(number: number): string {
  return `02:00:00:00:00:0${number}`;
}

export function settingsOf(wire: Wire, number: number): PathSettings {
  return {
    device: deviceOf(wire),
    encapsulation: wire === 'udp' ? { kind: 'udp' } : { kind: 'vxlan', vni: 1, mac: mac(macOf(number)) },
    local: ip(outerOf(wire, number)),
    port: wire === 'udp' ? 8285 : 8472,
    mtuBytes: mtuOf(wire),
    own: [prefix(subnetOf(wire, number))],
    networks: [prefix(wire === 'vxlan over IPv6' ? 'fd99::/48' : '10.99.0.0/16')],
    filter: 'enforce',
  };
}

function mtuOf(wire: Wire): number {
  return wire === 'udp' ? 1472 : wire === 'vxlan' ? 1450 : 1430;
}

/** As the other one sees it. */
export function peerOf(wire: Wire, number: number): PathPeer {
  const outer = ip(outerOf(wire, number));
  const vtep = wire === 'udp' ? undefined : mac(macOf(number));
  return { endpoint: outer, sources: [outer], subnets: [prefix(subnetOf(wire, number))], mac: vtep };
}

function other({ number }: Side): number {
  return 3 - number;
}

/** The device there, with its address and the route to the other side: what the reconciler does. */
export function makeDevice(wire: Wire, side: Side, make: () => void): void {
  const device = deviceOf(wire);
  make();
  if (wire !== 'udp') side.run(`ip link set ${device} address ${macOf(side.number)}`);
  side.run(`ip link set ${device} mtu ${mtuOf(wire)} up`);
  const [bits, flags] = wire === 'vxlan over IPv6' ? [128, 'nodad'] : [32, ''];
  side.run(`ip addr add ${addressOf(wire, side.number)}/${bits} dev ${device} ${flags}`);
  const gateway = addressOf(wire, other(side));
  if (wire === 'udp') {
    side.run(`ip route add ${subnetOf(wire, other(side))} dev ${device}`);
    return;
  }
  side.run(`ip neigh replace ${gateway} lladdr ${macOf(other(side))} dev ${device} nud permanent`);
  side.run(`ip route add ${subnetOf(wire, other(side))} via ${gateway} dev ${device} onlink`);
}

export function makePathDevice(wire: Wire, side: Side): void {
  makeDevice(wire, side, () => {
    const refused = makeTun(deviceOf(wire), wire === 'udp' ? 3 : 2);
    if (refused) throw new Error(`${refused.errno}: ${refused.detail}`);
  });
}

/** A kernel VXLAN device: what a flanneld makes. */
export function makeKernelDevice(wire: Wire, side: Side): void {
  const device = deviceOf(wire);
  makeDevice(wire, side, () => {
    const local = outerOf(wire, side.number);
    side.run(`ip link add ${device} type vxlan id 1 local ${local} dev eth0 dstport 8472 nolearning`);
  });
  side.run(`bridge fdb append ${macOf(other(side))} dev ${device} dst ${outerOf(wire, other(side))}`);
}

export interface PathOptions {
  readonly without?: readonly DataPathFeature[];
  readonly log?: Log;
  /** The device is there already. */
  readonly isMade?: boolean;
  /** Its peers are told by the test. */
  readonly isLonely?: boolean;
}

/** Device and data path there, until the test ends. */
export function startPath(t: ExecutionContext, wire: Wire, side: Side, options: PathOptions = {}): DataPath {
  if (options.isMade !== true) makePathDevice(wire, side);
  const path = new DataPath({
    log: options.log ?? silentLog,
    clock: realClock,
    without: new Set(options.without ?? []),
  });
  path.configure(settingsOf(wire, side.number));
  if (options.isLonely !== true) path.setPeers(new Map([['other', peerOf(wire, other(side))]]));
  const ending = new AbortController();
  const running = path.run(ending.signal).catch(() => undefined);
  t.teardown(async () => {
    ending.abort(new Error('the test is over'));
    await running;
    side.run(`ip link delete ${deviceOf(wire)}`);
  });
  return path;
}

/** From the near side. */
export function ping(wire: Wire, ...options: readonly string[]): string {
  return run(`ping -n -c 3 -i 0.05 -W 5 ${options.join(' ')} ${addressOf(wire, 2)}`);
}

/** node -e SCRIPT send|receive ADDRESS PORT BYTES: prints the digest of what went through. */
const FAR_END = `
const [what, host, port, bytes] = process.argv.slice(1);
const { createHash, randomBytes } = require('node:crypto');
const net = require('node:net');
const hash = createHash('sha256');
async function send(socket) {
  for (let left = Number(bytes); left > 0; ) {
    const chunk = randomBytes(Math.min(left, 1 + Math.floor(Math.random() * 200000)));
    left -= chunk.length;
    hash.update(chunk);
    if (!socket.write(chunk)) await new Promise((resolve) => socket.once('drain', resolve));
  }
  socket.end();
}
const socket = net.connect(Number(port), host);
socket.on('data', (data) => hash.update(data));
socket.on('close', () => console.log(hash.digest('hex')));
if (what === 'send') void send(socket);
`;

export interface Digests {
  readonly sent: string;
  readonly received: string;
}

/** TCP: `toNear` from the far side to the near one, else back. The far side connects. */
export async function transfer(far: FarSide, wire: Wire, bytes: number, toNear: boolean): Promise<Digests> {
  const hash = createHash('sha256');
  const server = createServer((socket) => {
    if (toNear) socket.on('data', (data) => hash.update(data)).on('end', () => socket.end());
    else send(socket, bytes, hash);
  });
  server.listen(0, addressOf(wire, 1));
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address ? String(address.port) : '';
  const what = toNear ? 'send' : 'receive';
  const there = await far.exec(process.execPath, ['-e', FAR_END, what, addressOf(wire, 1), port, String(bytes)]);
  server.close();
  const here = hash.digest('hex');
  return toNear ? { sent: there.trim(), received: here } : { sent: here, received: there.trim() };
}

/** In pieces of any size. */
function send(socket: Socket, bytes: number, hash: Hash): void {
  const pieces = function* (): Generator<Buffer> {
    for (let left = bytes; left > 0; ) {
      const piece = randomBytes(Math.min(left, 1 + Math.floor(Math.random() * 200_000)));
      left -= piece.length;
      hash.update(piece);
      yield piece;
    }
  };
  Readable.from(pieces()).pipe(socket);
}

/**
 * Runs in a container: a UDP packet to every other container ten times a second, answers theirs, and says on stdout what
 * was not answered.
 *
 *     node prober.js NAME ADDRESS PEERS_FILE        { "host2": "10.5.3.2", … }, looked at before every round
 *     {"sent":90,"answered":89,"lost":[{"to":"host2","at":1700000000000}]}         twice a second
 */
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';

const PORT = 7007;
const EVERY_MS = 100;
const SAY_EVERY_MS = 500;
/** An answer that takes so long is none; a host that is short of processors is no fault. */
const ANSWER_WITHIN_MS = 4_000;
const BUFFER_BYTES = 1 << 20;

export interface Lost {
  readonly to: string;
  /** When it was sent; wall clock, ms. */
  readonly at: number;
}

/** Since the last one. */
export interface ProbeReport {
  readonly sent: number;
  readonly answered: number;
  readonly lost: readonly Lost[];
}

interface Packet {
  readonly kind: 'ask' | 'answer';
  readonly number: number;
}

const [name = '', address = '', peersFile = ''] = process.argv.slice(2);
const socket = createSocket({ type: 'udp4', recvBufferSize: BUFFER_BYTES });
const waiting = new Map<number, Lost>();
let numbers = 0;
let sent = 0;
let answered = 0;

function readPeers(): readonly [string, string][] {
  try {
    const peers: Readonly<Record<string, string>> = JSON.parse(readFileSync(peersFile, 'utf8'));
    return Object.entries(peers).filter(([peer]) => peer !== name);
  } catch {
    return [];
  }
}

// What can't be sent is not answered either.
function send(packet: Packet, to: string): void {
  socket.send(JSON.stringify(packet), PORT, to, () => {});
}

function round(): void {
  for (const [peer, to] of readPeers()) {
    numbers++;
    sent++;
    waiting.set(numbers, { to: peer, at: Date.now() });
    send({ kind: 'ask', number: numbers }, to);
  }
}

function report(): void {
  const overdue = Date.now() - ANSWER_WITHIN_MS;
  const lost = [...waiting].filter(([, { at }]) => at < overdue);
  for (const [number] of lost) waiting.delete(number);
  const said: ProbeReport = { sent, answered, lost: lost.map(([, one]) => one) };
  sent = 0;
  answered = 0;
  console.log(JSON.stringify(said));
}

socket.on('message', (data, from) => {
  const { kind, number }: Packet = JSON.parse(data.toString());
  if (kind === 'ask') return send({ kind: 'answer', number }, from.address);
  if (waiting.delete(number)) answered++;
});
socket.on('error', () => {});
socket.bind(PORT, address, () => {
  console.log('listening');
  setInterval(round, EVERY_MS);
  // After what has come meanwhile is read: this process may have been late itself.
  setInterval(() => setImmediate(report), SAY_EVERY_MS);
});

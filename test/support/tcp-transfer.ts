/** So many bytes by TCP from one place to another, and whether they arrive as they were sent. */
import type { Place } from './namespace.ts';

export interface Transfer {
  readonly bytes: number;
  readonly sha256: string;
}

/** What each end says of itself. */
export interface Transferred {
  readonly sent: Transfer;
  readonly received: Transfer;
}

/** `{ bytes, sha256 }` of one connection. Wherever the receiver's address is: all of them. */
const RECEIVE = `
const { createServer } = require('node:net'), hash = require('node:crypto').createHash('sha256');
let bytes = 0;
const server = createServer((socket) => {
  server.close();
  socket.on('data', (data) => { bytes += data.length; hash.update(data); });
  socket.on('end', () => { console.log(JSON.stringify({ bytes, sha256: hash.digest('hex') })); socket.end(); });
});
server.listen(0, process.argv[1], () => console.log('port ' + server.address().port));`;

/** Writes of random sizes: packets of every size, and such that are merged and split on their way. */
const SEND = `
const { connect } = require('node:net'), crypto = require('node:crypto');
const [address, port, total] = [process.argv[1], Number(process.argv[2]), Number(process.argv[3])];
const hash = crypto.createHash('sha256'), block = crypto.randomBytes(1 << 20);
let left = total;
const socket = connect(port, address, more);
function more() {
  while (left > 0) {
    const length = Math.min(left, 1 + crypto.randomInt(crypto.randomInt(64) === 0 ? 1000 : 1 << 18));
    const start = crypto.randomInt(block.length - length + 1);
    const data = Buffer.from(block.subarray(start, start + length));
    left -= length;
    hash.update(data);
    if (!socket.write(data)) return socket.once('drain', more);
  }
  socket.end();
}
socket.resume().on('close', () => console.log(JSON.stringify({ bytes: total, sha256: hash.digest('hex') })));
socket.on('error', (error) => { console.error(String(error)); process.exit(1); });`;

/** Only a fault takes so long. */
const LIMIT_MS = 60_000;

export async function transfer(from: Place, to: Place, address: string, bytes: number): Promise<Transferred> {
  const receiver = to.spawn(process.execPath, ['-e', RECEIVE, address]);
  try {
    const port = (await receiver.until(/^port \d+$/)).slice('port '.length);
    const args = ['-e', SEND, address, port, String(bytes)];
    const sent: Transfer = JSON.parse(await from.run(process.execPath, args, { timeoutMs: LIMIT_MS }));
    const received: Transfer = JSON.parse(await receiver.until(/^\{/, LIMIT_MS));
    return { sent, received };
  } finally {
    await receiver.kill();
  }
}

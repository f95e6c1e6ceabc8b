/** Datagrams of somebody's own making, and who would get what is in them. */
import type { Container, Host } from './host.ts';
import type { LabProcess } from './process.ts';

export const VXLAN_PORT = 8472;
const UDP_PORT = 8285;

const RECEIVE = `const s = require('node:dgram').createSocket(process.argv[1]);
s.on('message', (m) => console.log(String(m))); s.bind(7777, () => console.log('ready'));`;

/** Inner IP and UDP, sent from this host's address; as VXLAN behind an inner Ethernet header for `mac`, else bare. */
const FORGE = `const [family, to, port, vni, mac, from, dest, count, text, spread] = JSON.parse(process.argv[1]);
const six = family === 6, data = Buffer.from(text);
const bytes = (ip) => Buffer.from(ip, 'hex');
const udp = Buffer.alloc(8 + data.length); udp.writeUInt16BE(7000, 0); udp.writeUInt16BE(7777, 2);
udp.writeUInt16BE(udp.length, 4); data.copy(udp, 8);
const sum = (...parts) => { let all = Buffer.concat(parts); if (all.length % 2) all = Buffer.concat([all, Buffer.alloc(1)]);
  let s = 0; for (let i = 0; i < all.length; i += 2) s += all.readUInt16BE(i); while (s > 65535) s = (s & 65535) + (s >>> 16);
  return 65535 - s; };
let ip;
if (six) { ip = Buffer.concat([Buffer.from([0x60,0,0,0,0,udp.length,17,64]), bytes(from), bytes(dest)]);
  udp.writeUInt16BE(sum(bytes(from), bytes(dest), Buffer.from([0,0,0,udp.length,0,0,0,17]), udp) || 65535, 6); }
else { ip = Buffer.concat([Buffer.from([0x45,0,0,20 + udp.length,0,0,0,0,64,17,0,0]), bytes(from), bytes(dest)]);
  ip.writeUInt16BE(sum(ip), 10); }
const vxlan = Buffer.alloc(8); vxlan[0] = 8; vxlan.writeUInt32BE(vni * 256, 4);
const ethernet = mac && [vxlan, bytes(mac), bytes('020000000066'), Buffer.from(six ? '86dd' : '0800', 'hex')];
const frame = Buffer.concat([...(ethernet || []), ip, udp]);
const s = require('node:dgram').createSocket(six ? 'udp6' : 'udp4');
let left = count;
const next = () => {
  if (spread) frame.writeUInt16BE(left, (ethernet ? 22 : 0) + (six ? 22 : 14));
  if (left-- > 0) s.send(frame, port, to, () => setImmediate(next)); else s.close();
};
next();`;

export interface Forgery {
  /** Inner source. */
  readonly from: string;
  readonly vni?: number;
  readonly count?: number;
  readonly text?: string;
  /** Each with another inner source; what is inside is broken then. */
  readonly spread?: boolean;
}

/** Where forged datagrams go: the tunnel device of a host, and an address behind it. */
export interface Target {
  readonly host: Host;
  readonly device: string;
  readonly dest: string;
  /** Default: VXLAN's. Bare IP packets go to udp's. */
  readonly encapsulation?: 'udp' | 'vxlan';
}

/** Sends datagrams to the target's port, for a receiver behind it. */
export async function forge(by: Host, target: Target, forgery: Forgery): Promise<void> {
  const { host, device, dest, encapsulation = 'vxlan' } = target;
  const { from, vni = 1, count = 1, text = 'forged', spread = false } = forgery;
  const family = dest.includes(':') ? 6 : 4;
  const to = family === 4 ? host.ip : host.ip6;
  const isBare = encapsulation === 'udp';
  const mac = isBare ? '' : (await host.run('cat', [`/sys/class/net/${device}/address`])).trim().replaceAll(':', '');
  const spec = [family, to, isBare ? UDP_PORT : VXLAN_PORT, vni, mac, hexOf(from), hexOf(dest), count, text, spread];
  await by.run(process.execPath, ['-e', FORGE, JSON.stringify(spec)]);
}

/** Prints what arrives at the port that forged datagrams go to. */
export async function receiverIn(container: Container, family: 4 | 6 = 4): Promise<LabProcess> {
  const receiver = container.spawn(process.execPath, ['-e', RECEIVE, family === 4 ? 'udp4' : 'udp6']);
  await receiver.until(/^ready$/);
  return receiver;
}

function hexOf(ip: string): string {
  if (!ip.includes(':')) return Buffer.from(ip.split('.').map(Number)).toString('hex');
  const [head = '', tail = ''] = ip.split('::');
  const groups = (text: string): string[] => text.split(':').filter((group) => group !== '');
  const zeros = Array<string>(8 - groups(head).length - groups(tail).length).fill('0');
  return [...groups(head), ...zeros, ...groups(tail)].map((group) => group.padStart(4, '0')).join('');
}

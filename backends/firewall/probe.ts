import { createSocket } from 'node:dgram';
import { familyOf, type Ip } from '../../config/address.ts';

/** tcpmux, which nobody serves by UDP: the kernel itself answers that the port is unreachable. */
const PORT = 1;

/** Sends an empty datagram to a host, which its kernel answers. Whether it could be sent is not told. */
export function probe(ip: Ip): void {
  const socket = createSocket(familyOf(ip) === 4 ? 'udp4' : 'udp6');
  let isOpen = true;
  const close = (): void => {
    if (isOpen) socket.close();
    isOpen = false;
  };
  socket.on('error', close);
  socket.send('', PORT, ip, close);
}

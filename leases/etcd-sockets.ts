import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Socket } from 'node:net';

const CHANNEL = 'net.client.socket';

const open = new Set<EtcdSockets>();

function onSocket(message: unknown): void {
  if (typeof message !== 'object' || message === null || !('socket' in message)) return;
  const { socket } = message;
  if (!(socket instanceof Socket)) return;
  socket.once('connect', () => {
    for (const sockets of open) sockets.track(socket);
  });
}

/**
 * The TCP connections to one port. They are reset, never closed in order: the kernel goes on sending what a closed socket
 * had still to send, so that through a network that comes back a transaction would reach etcd long after it was given
 * up. A reset throws the unsent bytes away. gRPC keeps its sockets to itself, hence the way over Node's diagnostics
 * channel.
 */
export class EtcdSockets {
  readonly #port: number;
  readonly #sockets = new Set<Socket>();

  constructor(port: number) {
    this.#port = port;
    if (open.size === 0) subscribe(CHANNEL, onSocket);
    open.add(this);
  }

  /** Drops every connection with all that is under way on it. */
  reset(): void {
    for (const socket of [...this.#sockets]) socket.destroy();
  }

  /** Later connections are left alone. */
  close(): void {
    open.delete(this);
    if (open.size === 0) unsubscribe(CHANNEL, onSocket);
  }

  track(socket: Socket): void {
    if (socket.remotePort !== this.#port) return;
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    const destroy = socket.destroy.bind(socket);
    socket.destroy = (error) => {
      // What resetAndDestroy() sets, which itself first ends the stream, and so waits for ever under HTTP/2. A Node that
      // does not know the mark closes as usual.
      if (!socket.writableEnded) Reflect.set(socket, 'resetAndClosing', true);
      return destroy(error);
    };
  }
}

import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import { Socket } from 'node:net';

const maker = new AsyncLocalStorage<EtcdSockets>();

subscribe('net.client.socket', (message) => {
  if (typeof message !== 'object' || message === null || !('socket' in message)) return;
  const { socket } = message;
  if (socket instanceof Socket) maker.getStore()?.track(socket);
});

/**
 * The TCP connections to one member. They are reset, never closed in order: the kernel goes on sending what a closed
 * socket had still to send, so that through a network that comes back a transaction would reach etcd long after it was
 * given up. A reset throws the unsent bytes away. gRPC keeps its sockets to itself, hence the way over Node's diagnostics
 * channel. Neither port nor address tells one member's from another's, a name may resolve to several: whatever is opened
 * on behalf of `within` is ours, also when gRPC connects again later by itself.
 */
export class EtcdSockets {
  readonly #sockets = new Set<Socket>();

  /** The connections that `work` opens, at once or later, are these. */
  within<T>(work: () => T): T {
    return maker.run(this, work);
  }

  /** Drops every connection with all that is under way on it. */
  reset(): void {
    for (const socket of [...this.#sockets]) socket.destroy();
  }

  track(socket: Socket): void {
    socket.once('connect', () => this.#sockets.add(socket));
    socket.once('close', () => this.#sockets.delete(socket));
    const destroy = socket.destroy.bind(socket);
    socket.destroy = (error) => {
      // What resetAndDestroy() sets, which itself first ends the stream, and so waits for ever under HTTP/2. A Node that
      // does not know the mark closes as usual.
      if (!socket.connecting && !socket.writableEnded) Reflect.set(socket, 'resetAndClosing', true);
      return destroy(error);
    };
  }
}

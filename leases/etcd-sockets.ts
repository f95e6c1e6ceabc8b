import { Socket } from 'node:net';
import type { Connector } from './etcd-connectors.ts';

/**
 * The TCP connections to one member. They are reset, never closed in order: the kernel goes on sending what a closed
 * socket had still to send, so that through a network that comes back a transaction would reach etcd long after it was
 * given up. A reset throws the unsent bytes away.
 */
export class EtcdSockets {
  readonly #sockets = new Set<Socket>();

  /** The connections that `connector` takes over are these: all of a channel, also when gRPC connects again by itself. */
  follow(connector: Connector): void {
    const connect = connector.connect.bind(connector);
    connector.connect = (socket) => {
      if (socket instanceof Socket) this.#track(socket);
      return connect(socket);
    };
  }

  /** Drops every connection with all that is under way on it. */
  reset(): void {
    for (const socket of [...this.#sockets]) socket.destroy();
  }

  /** Nothing was written yet. */
  #track(socket: Socket): void {
    this.#sockets.add(socket);
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

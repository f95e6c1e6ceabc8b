import net from 'node:net';

interface Pair {
  readonly client: net.Socket;
  readonly server: net.Socket;
}

/** A TCP proxy on loopback that cuts, black-holes and heals what goes through it. */
export class TcpProxy {
  readonly #target: number;
  readonly #listener: net.Server;
  readonly #pairs = new Set<Pair>();
  #blackHoled = false;
  /** Connections that were made so far. */
  connections = 0;
  /** Cuts a connection that has brought so many bytes from the server, as often as `cutsLeft` says. */
  cutAfterBytes = Number.POSITIVE_INFINITY;
  cutsLeft = 0;

  constructor(target: number) {
    this.#target = target;
    this.#listener = net.createServer((client) => this.#accept(client));
  }

  /** Connections that stand. */
  get open(): number {
    return this.#pairs.size;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#listener.listen(0, '127.0.0.1', resolve));
  }

  get port(): number {
    const address = this.#listener.address();
    if (typeof address !== 'object' || address === null) throw new Error('the proxy does not listen');
    return address.port;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  cut(): void {
    for (const pair of [...this.#pairs]) this.#drop(pair);
  }

  /** Nothing goes through any more, and nobody is told. New connections are accepted and hang. */
  blackHole(): void {
    this.#blackHoled = true;
    for (const { client, server } of this.#pairs) {
      client.pause();
      server.pause();
    }
  }

  /** What was held back goes through, late, as a network's repeated packets would. */
  heal(): void {
    this.#blackHoled = false;
    for (const { client, server } of this.#pairs) {
      client.resume();
      server.resume();
    }
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#listener.close(resolve));
  }

  #accept(client: net.Socket): void {
    this.connections += 1;
    const server = net.connect(this.#target, '127.0.0.1');
    const pair = { client, server };
    this.#pairs.add(pair);
    let bytes = 0;
    client.on('data', (chunk) => server.write(chunk));
    server.on('data', (chunk) => {
      bytes += chunk.length;
      if (bytes <= this.cutAfterBytes || this.cutsLeft === 0) return client.write(chunk);
      this.cutsLeft -= 1;
      return this.#drop(pair);
    });
    for (const socket of [client, server]) {
      socket.on('error', () => this.#drop(pair));
      socket.on('close', () => this.#drop(pair));
    }
    if (!this.#blackHoled) return;
    client.pause();
    server.pause();
  }

  #drop(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.client.destroy();
    pair.server.destroy();
  }
}

export async function startProxy(
  owner: { teardown(work: () => Promise<void>): void },
  target: number,
): Promise<TcpProxy> {
  const proxy = new TcpProxy(target);
  await proxy.listen();
  owner.teardown(() => proxy.close());
  return proxy;
}

/** A real etcd on the lab's switch, its data in memory. */
import { eventually } from './eventually.ts';
import type { Place } from './namespace.ts';
import type { ExecOptions, LabProcess } from './process.ts';

export interface EtcdEntry {
  readonly key: string;
  readonly value: string;
  /** Lease id as `etcdctl lease` takes it (hexadecimal), "0" for none. */
  readonly lease: string;
  readonly createRevision: number;
  readonly modRevision: number;
}

interface RawEntry {
  readonly key: string;
  readonly value?: string;
  readonly lease?: string;
  readonly create_revision: number;
  readonly mod_revision: number;
}

const DATA = '/run/etcd';

function decode(base64: string | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString();
}

export class LabEtcd {
  readonly endpoint: string;
  readonly #at: Place;
  readonly #flags: readonly string[];
  #process: LabProcess | undefined;

  constructor(at: Place, address: string, flags: readonly string[] = []) {
    this.#at = at;
    this.endpoint = `http://${address}:2379`;
    this.#flags = flags;
  }

  get process(): LabProcess | undefined {
    return this.#process;
  }

  /** Starts it, or starts it again on the same data. */
  async start(): Promise<void> {
    const listen = ['--listen-client-urls', this.endpoint, '--advertise-client-urls', this.endpoint];
    const server = this.#at.spawn('etcd', ['--data-dir', DATA, '--logger', 'zap', ...listen, ...this.#flags]);
    this.#process = server;
    await eventually(
      'etcd answers',
      async () => {
        if (!server.running) throw new Error('etcd ended');
        return (await this.#at.exec('etcdctl', ['endpoint', 'health'], this.#env({}))).status === 0;
      },
      { context: () => server.tail() },
    );
  }

  /** kill -9 by default: what an outage looks like. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#process?.stop(signal);
  }

  /** Hangs without closing a connection, as behind a black-holed link. */
  freeze(): void {
    this.#process?.signal('SIGSTOP');
  }

  thaw(): void {
    this.#process?.signal('SIGCONT');
  }

  /** Stopped, its data deleted. The next start is another cluster. */
  async wipe(): Promise<void> {
    await this.stop();
    await this.#at.run('rm', ['-rf', DATA]);
  }

  /** etcdctl (API 3) with these arguments; rejects where it fails. @returns stdout */
  ctl(args: readonly string[], options: ExecOptions = {}): Promise<string> {
    return this.#at.run('etcdctl', args, this.#env(options));
  }

  async put(key: string, value: string): Promise<void> {
    await this.ctl(['put', key], { input: value });
  }

  /** Every key under the prefix, in byte order. */
  async list(prefix: string): Promise<readonly EtcdEntry[]> {
    const text = await this.ctl(['get', '--prefix', prefix, '-w', 'json']);
    // Lease ids need 63 bits: read as text.
    const answer: { readonly kvs?: readonly RawEntry[] } = JSON.parse(text.replace(/"lease":(\d+)/g, '"lease":"$1"'));
    return (answer.kvs ?? []).map((raw) => ({
      key: decode(raw.key),
      value: decode(raw.value),
      lease: BigInt(raw.lease ?? 0).toString(16),
      createRevision: raw.create_revision,
      modRevision: raw.mod_revision,
    }));
  }

  #env(options: ExecOptions): ExecOptions {
    return { ...options, env: { ETCDCTL_API: '3', ETCDCTL_ENDPOINTS: this.endpoint, ...options.env } };
  }
}

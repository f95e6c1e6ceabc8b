/** One etcd process of a lab, its data in memory. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { eventually } from './eventually.ts';
import { Host } from './host.ts';
import type { Namespace } from './namespace.ts';
import type { PkiTexts } from './pki.ts';
import type { LabProcess } from './process.ts';

const DATA = '/run/etcd';
const SNAPSHOT = '/run/etcd.snapshot';
const PKI = '/run/pki';

export const PKI_FILES = {
  ca: `${PKI}/ca.crt`,
  serverCert: `${PKI}/server.crt`,
  serverKey: `${PKI}/server.key`,
  clientCert: `${PKI}/client.crt`,
  clientKey: `${PKI}/client.key`,
} as const;

/** Writes certificates where the lab's etcd, etcdctl and agents look for them; `server` for etcd's machines alone. */
export async function installPki(at: Namespace, { ca, client, server }: Partial<PkiTexts>): Promise<void> {
  await mkdir(at.path(PKI), { recursive: true });
  const files = [
    [PKI_FILES.ca, ca],
    [PKI_FILES.clientCert, client?.cert],
    [PKI_FILES.clientKey, client?.key],
    [PKI_FILES.serverCert, server?.cert],
    [PKI_FILES.serverKey, server?.key],
  ] as const;
  for (const [path, text] of files) if (text !== undefined) await writeFile(at.path(path), text);
}

export interface EtcdSeat {
  readonly name: string;
  readonly at: Namespace;
  /** IPv4, on the switch. */
  readonly address: string;
}

export interface ClusterFlags {
  readonly seats: readonly EtcdSeat[];
  readonly tls: boolean;
  readonly extra: readonly string[];
}

function schemeOf({ tls }: ClusterFlags): string {
  return tls ? 'https' : 'http';
}

export class LabEtcdMember {
  readonly name: string;
  readonly at: Namespace;
  readonly address: string;
  /** For its clients. */
  readonly endpoint: string;
  /** Name and password of who may do everything, where etcd asks for that. */
  root: string | undefined;
  readonly #peer: string;
  readonly #cluster: ClusterFlags;
  #process: LabProcess | undefined;

  constructor({ name, at, address }: EtcdSeat, cluster: ClusterFlags) {
    this.name = name;
    this.at = at;
    this.address = address;
    this.#cluster = cluster;
    const scheme = schemeOf(cluster);
    this.endpoint = `${scheme}://${address}:2379`;
    this.#peer = `${scheme}://${address}:2380`;
  }

  get process(): LabProcess | undefined {
    return this.#process;
  }

  /** For etcdctl: this member alone. */
  get env(): Readonly<Record<string, string>> {
    const user = this.root === undefined ? {} : { ETCDCTL_USER: this.root };
    return { ...etcdctlEnv(this.#cluster), ...user, ETCDCTL_ENDPOINTS: this.endpoint };
  }

  /** Starts it, or starts it again on the same data. Resolves when it answers, for which a quorum must run. */
  async start(): Promise<void> {
    const { extra, tls } = this.#cluster;
    const files = tls ? tlsFlags() : [];
    const flags = ['--name', this.name, '--data-dir', DATA, '--logger', 'zap', '--unsafe-no-fsync', ...this.#urls()];
    const server = this.at.spawn('etcd', [...flags, ...files, ...extra]);
    this.#process = server;
    await eventually(
      `${this.name} answers`,
      async () => {
        if (!server.running) throw new Error('etcd ended');
        return (await this.at.exec('etcdctl', ['endpoint', 'health'], { env: this.env })).status === 0;
      },
      // An election on a busy machine may take several tries.
      { timeoutMs: 60_000, context: () => server.tail() },
    );
  }

  /** kill -9 by default: what an outage looks like. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#process?.stop(signal);
  }

  /** Hangs without closing a connection; its kernel still answers. */
  freeze(): void {
    this.#process?.signal('SIGSTOP');
  }

  thaw(): void {
    this.#process?.signal('SIGCONT');
  }

  /** Cut off from everybody, the other members too, without a word: a black hole. */
  async unplug(): Promise<void> {
    await this.#machine.unplug();
  }

  async plug(): Promise<void> {
    await this.#machine.plug();
  }

  /** Stopped, its data deleted. */
  async wipe(): Promise<void> {
    await this.stop();
    await this.at.run('rm', ['-rf', DATA]);
  }

  /** The store as it is now, as `etcdctl snapshot save` writes it. */
  async snapshot(): Promise<Buffer> {
    await this.at.run('etcdctl', ['snapshot', 'save', SNAPSHOT], { env: this.env });
    return await readFile(this.at.path(SNAPSHOT));
  }

  /** Stopped, its data replaced by the snapshot's. */
  async restore(snapshot: Buffer): Promise<void> {
    await this.wipe();
    await writeFile(this.at.path(SNAPSHOT), snapshot);
    const { name } = this;
    const where = ['--name', name, '--data-dir', DATA, '--initial-cluster', this.#initial()];
    const env = { ETCDCTL_API: '3' };
    const flags = [...where, '--initial-advertise-peer-urls', this.#peer];
    await this.at.run('etcdctl', ['snapshot', 'restore', SNAPSHOT, ...flags], { env });
  }

  #urls(): string[] {
    return [
      ...['--listen-client-urls', this.endpoint, '--advertise-client-urls', this.endpoint],
      ...['--listen-peer-urls', this.#peer, '--initial-advertise-peer-urls', this.#peer],
      ...['--initial-cluster', this.#initial()],
    ];
  }

  #initial(): string {
    const scheme = schemeOf(this.#cluster);
    return this.#cluster.seats.map(({ name, address }) => `${name}=${scheme}://${address}:2380`).join(',');
  }

  get #machine(): Host {
    if (this.at instanceof Host) return this.at;
    throw new Error('this etcd runs on the switch itself: give it a machine of its own, createLab({ etcd: {} })');
  }
}

function etcdctlEnv({ tls }: ClusterFlags): Readonly<Record<string, string>> {
  const { ca, clientCert, clientKey } = PKI_FILES;
  const files = tls ? { ETCDCTL_CACERT: ca, ETCDCTL_CERT: clientCert, ETCDCTL_KEY: clientKey } : {};
  return { ETCDCTL_API: '3', ...files };
}

function tlsFlags(): string[] {
  const { ca, serverCert, serverKey } = PKI_FILES;
  return [
    ...['--cert-file', serverCert, '--key-file', serverKey, '--trusted-ca-file', ca, '--client-cert-auth'],
    ...['--peer-cert-file', serverCert, '--peer-key-file', serverKey, '--peer-trusted-ca-file', ca],
    '--peer-client-cert-auth',
  ];
}

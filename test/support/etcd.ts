/** Real etcd processes on loopback, on free ports, in directories of their own; all gone when the test ends. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { ClientPair, Pki } from './pki.ts';

/** What AVA's `t` offers; whoever else starts an etcd passes a list of its own. */
export interface Owner {
  teardown(work: () => Promise<void>): void;
}

export interface EtcdTlsFiles {
  readonly pki: Pki;
  /** The client that `ctl` and the health check act as. */
  readonly client: ClientPair;
}

export interface EtcdProcessOptions {
  readonly owner: Owner;
  /** Kept if given; else a temporary one, removed in the end. */
  readonly dir?: string;
  readonly port?: number;
  readonly extraFlags?: readonly string[];
  readonly tls?: EtcdTlsFiles;
  /** Runs in this network namespace, at this address of it. */
  readonly namespace?: { readonly name: string; readonly address: string };
  /** The members of a cluster have one port, at 127.0.0.1, 127.0.0.2 and so on; else each has one of its own. */
  readonly onePort?: boolean;
}

interface Member {
  readonly name: string;
  readonly address: string;
  readonly dir: string;
  readonly port: number;
  readonly peerPort: number;
  readonly peers: string;
  readonly extraFlags: readonly string[];
  readonly tls: EtcdTlsFiles | undefined;
  readonly namespace: EtcdProcessOptions['namespace'];
}

const START_LIMIT_MS = 30_000;
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class EtcdServer {
  readonly endpoint: string;
  readonly port: number;
  readonly dir: string;
  #member: Member;
  #child: ChildProcess | undefined;
  /** `name:password` for `ctl`, once authentication is on. */
  user: string | undefined;

  constructor(member: Member) {
    this.#member = member;
    this.port = member.port;
    this.dir = member.dir;
    this.endpoint = clientUrl(member);
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('etcd does not run');
    return pid;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  spawn(): void {
    const { namespace } = this.#member;
    const command = ['etcd', ...flagsOf(this.#member)];
    const inside = namespace === undefined ? command : ['ip', 'netns', 'exec', namespace.name, ...command];
    const [program = '', ...args] = inside;
    const child = spawn(program, args, { stdio: 'ignore' });
    running.add(child);
    child.once('exit', () => running.delete(child));
    this.#child = child;
  }

  /** @returns false where it ended instead (a port was taken). */
  async isHealthy(): Promise<boolean> {
    const limit = Date.now() + START_LIMIT_MS;
    while (this.isRunning && Date.now() < limit) {
      if (await answersHealthy(this.endpoint, this.#member.tls)) return true;
      await pause(20);
    }
    return false;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.isRunning) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGCONT');
    child.kill(signal);
    await gone;
  }

  /** Again on the same ports and directory; `wiped`: with nothing left of its data; `tls`: with other certificates. */
  async restart(options: { readonly wiped?: boolean; readonly tls?: EtcdTlsFiles } = {}): Promise<void> {
    await this.stop('SIGKILL');
    if (options.tls) this.#member = { ...this.#member, tls: options.tls };
    if (options.wiped) await rm(this.dir, { recursive: true, force: true });
    this.spawn();
    if (!(await this.isHealthy())) throw new Error('etcd did not come back');
  }

  async ctl(...args: readonly string[]): Promise<string> {
    const { tls } = this.#member;
    const secure =
      tls === undefined
        ? []
        : [`--cacert=${tls.pki.caFile}`, `--cert=${tls.client.certFile}`, `--key=${tls.client.keyFile}`];
    const user = this.user === undefined ? [] : [`--user=${this.user}`];
    const env = { ...process.env, ETCDCTL_API: '3' };
    const all = [`--endpoints=${this.endpoint}`, ...secure, ...user, ...args];
    return (await promisify(execFile)('etcdctl', all, { env, maxBuffer: 2 ** 26 })).stdout;
  }

  /** Users root and `name`, the latter with readwrite on `prefix`; then authentication is switched on. */
  async enableAuth(name: string, password: string, prefix: string): Promise<void> {
    await this.ctl('user', 'add', 'root:rootpw');
    await this.ctl('user', 'grant-role', 'root', 'root');
    await this.ctl('role', 'add', name);
    await this.ctl('role', 'grant-permission', name, '--prefix=true', 'readwrite', prefix);
    await this.ctl('user', 'add', `${name}:${password}`);
    await this.ctl('user', 'grant-role', name, name);
    await this.ctl('auth', 'enable');
    this.user = 'root:rootpw';
  }
}

function clientUrl(member: Member): string {
  const scheme = member.tls === undefined ? 'http' : 'https';
  return `${scheme}://${member.address}:${member.port}`;
}

function flagsOf(member: Member): string[] {
  const client = clientUrl(member);
  const peer = `http://127.0.0.1:${member.peerPort}`;
  return [
    ...[
      '--name',
      member.name,
      '--data-dir',
      member.dir,
      '--log-level',
      'error',
      '--logger',
      'zap',
      '--unsafe-no-fsync',
    ],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', member.peers],
    ...['--heartbeat-interval', '50', '--election-timeout', '500', '--bcrypt-cost', '4'],
    ...(member.tls === undefined ? [] : tlsFlags(member.tls.pki)),
    ...member.extraFlags,
  ];
}

function tlsFlags(pki: Pki): string[] {
  const { certFile, keyFile } = pki.server;
  return ['--cert-file', certFile, '--key-file', keyFile, '--trusted-ca-file', pki.caFile, '--client-cert-auth'];
}

function answersHealthy(endpoint: string, tls: EtcdTlsFiles | undefined): Promise<boolean> {
  const options = tls === undefined ? {} : { ca: tls.pki.ca, cert: tls.client.cert, key: tls.client.key };
  const get = tls === undefined ? http.get : https.get;
  return new Promise((resolve) => {
    const request = get(`${endpoint}/health`, { ...options, agent: false, timeout: 1000 }, (response) => {
      response.resume();
      response.once('end', () => resolve(response.statusCode === 200));
      response.once('error', () => resolve(false));
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
  });
}

/** Ports that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => net.createServer());
  const ports = await Promise.all(servers.map(listenAnywhere));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function listenAnywhere(server: net.Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (typeof address === 'object' && address !== null) resolve(address.port);
    });
  });
}

/** One etcd, answering. */
export async function startEtcd(options: EtcdProcessOptions): Promise<EtcdServer> {
  const [server] = await startMembers(1, options);
  if (server === undefined) throw new Error('no etcd');
  return server;
}

/** A cluster of three, answering. */
export function startEtcdCluster(options: Omit<EtcdProcessOptions, 'dir' | 'port'>): Promise<EtcdServer[]> {
  return startMembers(3, options);
}

async function startMembers(count: number, options: EtcdProcessOptions): Promise<EtcdServer[]> {
  const base = await mkdtemp(join(tmpdir(), 'tartan-etcd-'));
  options.owner.teardown(() => rm(base, { recursive: true, force: true }));
  for (let attempt = 1; ; attempt += 1) {
    const servers = await tryMembers(count, options, join(base, String(attempt)));
    const healthy = await Promise.all(servers.map((server) => server.isHealthy()));
    if (healthy.every(Boolean)) {
      options.owner.teardown(() => stopAll(servers));
      return servers;
    }
    await stopAll(servers);
    if (attempt === 3) throw new Error('etcd does not start');
  }
}

async function tryMembers(count: number, options: EtcdProcessOptions, base: string): Promise<EtcdServer[]> {
  const ports = await freePorts(count * 2);
  const names = Array.from({ length: count }, (_, index) => `n${index}`);
  const peers = names.map((name, index) => `${name}=http://127.0.0.1:${ports[count + index]}`).join(',');
  const servers = names.map((name, index) => {
    const port = options.port ?? ports[options.onePort ? 0 : index] ?? 0;
    const address = options.namespace?.address ?? `127.0.0.${options.onePort ? index + 1 : 1}`;
    const dir = options.dir ?? join(base, name);
    const peerPort = ports[count + index] ?? 0;
    const { extraFlags = [], tls, namespace } = options;
    return new EtcdServer({ name, address, dir, port, peerPort, peers, extraFlags, tls, namespace });
  });
  for (const server of servers) server.spawn();
  return servers;
}

async function stopAll(servers: readonly EtcdServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop('SIGKILL')));
}

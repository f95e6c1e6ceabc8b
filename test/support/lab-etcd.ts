/** A real etcd on the lab's switch, of one member or several, its data in memory. */
import type { ClusterFlags } from './lab-etcd-member.ts';
import { LabEtcdMember, PKI_FILES } from './lab-etcd-member.ts';
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

interface RawStatus {
  readonly Endpoint: string;
  readonly Status: { readonly leader: string; readonly header: { readonly member_id: string } };
}

const ROOT = 'root:of-the-lab';
const USER = { name: 'agent', password: 'of-the-hosts' } as const;

function decode(base64: string | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString();
}

/** What is done to it is done to every member; for one alone see `members`. */
export class LabEtcd {
  readonly members: readonly LabEtcdMember[];
  readonly #cluster: ClusterFlags;
  #asksWho = false;

  constructor(cluster: ClusterFlags) {
    this.#cluster = cluster;
    this.members = cluster.seats.map((seat) => new LabEtcdMember(seat, cluster));
  }

  /** Member by number, from 1. */
  member(number: number): LabEtcdMember {
    const member = this.members[number - 1];
    if (member === undefined) throw new Error(`this etcd has no member ${number}`);
    return member;
  }

  /** All endpoints, as `--etcd-endpoints` takes them. */
  get endpoint(): string {
    return this.members.map(({ endpoint }) => endpoint).join(',');
  }

  /** What an agent needs to reach it: endpoints, and the certificates that every host of the lab has. */
  get flags(): readonly string[] {
    const { ca, clientCert, clientKey } = PKI_FILES;
    const files = [`--etcd-cafile=${ca}`, `--etcd-certfile=${clientCert}`, `--etcd-keyfile=${clientKey}`];
    const user = [`--etcd-username=${USER.name}`, `--etcd-password=${USER.password}`];
    return [`--etcd-endpoints=${this.endpoint}`, ...(this.#cluster.tls ? files : []), ...(this.#asksWho ? user : [])];
  }

  /** The same for tartan's other commands, in the environment. */
  get env(): Readonly<Record<string, string>> {
    const { ca, clientCert, clientKey } = PKI_FILES;
    const files = { TARTAN_ETCD_CAFILE: ca, TARTAN_ETCD_CERTFILE: clientCert, TARTAN_ETCD_KEYFILE: clientKey };
    const user = { TARTAN_ETCD_USERNAME: USER.name, TARTAN_ETCD_PASSWORD: USER.password };
    return {
      TARTAN_ETCD_ENDPOINTS: this.endpoint,
      ...(this.#cluster.tls ? files : {}),
      ...(this.#asksWho ? user : {}),
    };
  }

  /** From now on etcd lets in a user alone who may read and write below `prefix`; `flags` and `env` name it. */
  async enableAuth(prefix: string): Promise<void> {
    const { name, password } = USER;
    await this.ctl(['user', 'add', ROOT]);
    await this.ctl(['user', 'grant-role', 'root', 'root']);
    await this.ctl(['role', 'add', name]);
    await this.ctl(['role', 'grant-permission', name, '--prefix=true', 'readwrite', prefix]);
    await this.ctl(['user', 'add', `${name}:${password}`]);
    await this.ctl(['user', 'grant-role', name, name]);
    await this.ctl(['auth', 'enable']);
    this.#asksWho = true;
    for (const member of this.members) member.root = ROOT;
  }

  get process(): LabProcess | undefined {
    return this.members[0]?.process;
  }

  /** Starts it, or starts it again on the same data. */
  async start(): Promise<void> {
    await this.#each((member) => member.start());
  }

  /** kill -9 by default: what an outage looks like. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#each((member) => member.stop(signal));
  }

  /** Hangs without closing a connection, as behind a black-holed link. */
  freeze(): void {
    for (const member of this.members) member.freeze();
  }

  thaw(): void {
    for (const member of this.members) member.thaw();
  }

  /** Stopped, its data deleted. The next start is empty; its cluster id is the same, being made from the addresses. */
  async wipe(): Promise<void> {
    await this.#each((member) => member.wipe());
  }

  async snapshot(): Promise<Buffer> {
    return await this.member(1).snapshot();
  }

  /** Stopped, and started with what it had when the snapshot was taken: same cluster id, an older revision. */
  async restore(snapshot: Buffer): Promise<void> {
    await this.#each((member) => member.restore(snapshot));
    await this.start();
  }

  /** The member that leads. */
  async leader(): Promise<LabEtcdMember> {
    // Fails where one member is away, and tells of the others all the same.
    const { stdout } = await this.member(1).at.exec('etcdctl', ['endpoint', 'status', '-w', 'json'], {
      env: this.#ctlEnv,
    });
    // Member ids need 64 bits: read as text.
    const all: readonly RawStatus[] = JSON.parse(stdout.replace(/"(leader|member_id)":(\d+)/g, '"$1":"$2"'));
    const found = all.find(({ Status }) => Status.leader === Status.header.member_id);
    const member = this.members.find(({ endpoint }) => endpoint === found?.Endpoint);
    if (member === undefined) throw new Error('etcd has no leader');
    return member;
  }

  /** Gives the lead to another member in order. @returns the new leader */
  async moveLeader(): Promise<LabEtcdMember> {
    const leader = await this.leader();
    const heir = this.members.find((member) => member !== leader);
    if (heir === undefined) throw new Error('this etcd has one member only');
    const list = await this.ctl(['member', 'list']);
    const id =
      list
        .split('\n')
        .find((line) => line.includes(` ${heir.name},`))
        ?.split(',')[0] ?? '';
    await leader.at.run('etcdctl', ['move-leader', id], { env: leader.env });
    return heir;
  }

  /** etcdctl (API 3) with these arguments; rejects where it fails. @returns stdout */
  ctl(args: readonly string[], options: ExecOptions = {}): Promise<string> {
    const env = { ...this.#ctlEnv, ...options.env };
    return this.member(1).at.run('etcdctl', args, { ...options, env });
  }

  async revision(): Promise<number> {
    const answer: { readonly header: { readonly revision: number } } = JSON.parse(
      await this.ctl(['get', '/', '-w', 'json']),
    );
    return answer.header.revision;
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

  get #ctlEnv(): Readonly<Record<string, string>> {
    return { ...this.member(1).env, ETCDCTL_ENDPOINTS: this.endpoint };
  }

  async #each(work: (member: LabEtcdMember) => Promise<void>): Promise<void> {
    await Promise.all(this.members.map(work));
  }
}

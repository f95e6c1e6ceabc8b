/**
 * A real systemd as PID 1, booted by systemd-nspawn from an overlay of this very machine: lower = /, upper = a tmpfs
 * that vanishes with the mount namespace it lies in. Only a target of our own is started, in a network of its own.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { removeCgroup } from './cgroups.ts';

const TARGET = 'tartan-test.target';

/** How nspawn ends where the host rebooted. */
const REBOOT = 133;

/** $1 = directory for the mounts, $2 = files to lay over the machine, $3 = name; then more options for nspawn. */
const BOOT = `set -e
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
  [ -e $hierarchy/cgroup.procs ] || continue
  mkdir -p $hierarchy/$3
  echo $$ >$hierarchy/$3/cgroup.procs
done
mount -t tmpfs -o mode=755 tmpfs $1
mkdir $1/upper $1/work $1/root
mount -t overlay overlay -o lowerdir=/,upperdir=$1/upper,workdir=$1/work $1/root
chmod 755 $2 # the copy gives its mode to the new /
cp -a $2/. $1/root/
rm -f $1/root/etc/machine-id $1/root/var/lib/dbus/machine-id
systemd-machine-id-setup --root=$1/root
mkdir -p $1/root/var/lib/docker # which can't store images on an overlay
mount -t tmpfs -o mode=711 tmpfs $1/root/var/lib/docker
mounts=$1 machine=$3
shift 3
while :; do
  status=0
  setpriv --pdeathsig KILL systemd-nspawn -D $mounts/root --boot --register=no --keep-unit --machine=$machine \\
    --console=pipe --link-journal=no "$@" systemd.unit=${TARGET} || status=$?
  [ $status = ${REBOOT} ] || exit $status
done
`;

/** What containers need that Docker makes in there. */
const ALLOWED = ['--capability=CAP_NET_ADMIN', '--system-call-filter=keyctl bpf add_key request_key'];

export function bootLack(): string | undefined {
  if (process.getuid?.() !== 0) return 'root';
  if (spawnSync('systemd-nspawn', ['--version']).status !== 0) return 'systemd-nspawn (Debian: systemd-container)';
  return existsSync('/lib/systemd/systemd') ? undefined : 'systemd (Debian: systemd-sysv)';
}

export class BootedHost {
  readonly #name = `tartan-boot-${randomBytes(4).toString('hex')}`;
  readonly #mounts = mkdtempSync(join(tmpdir(), `${this.#name}-m-`));
  readonly #files = mkdtempSync(join(tmpdir(), `${this.#name}-f-`));
  readonly #network = join(mkdtempSync(join(tmpdir(), `${this.#name}-n-`)), 'network');
  #nspawn: ChildProcess | undefined;
  #leader = 0;
  #complaints = '';

  /** Puts a file or a directory of the machine at `target` of the host to be booted. */
  copy(source: string, target: string): void {
    cpSync(source, this.#prepare(target), { recursive: true, dereference: true });
  }

  write(target: string, text: string | Uint8Array, mode = 0o644): void {
    writeFileSync(this.#prepare(target), text, { mode });
  }

  /** Boots with these units wanted; resolves when systemd has started them, or has failed to. */
  async boot(units: readonly string[]): Promise<void> {
    await this.start(units);
    await this.until(async () => /running|degraded/.test(await this.#state()));
  }

  /**
   * Boots with these units wanted; resolves when systemd answers. It has a network of its own, or the one that
   * `useNetwork` named last.
   */
  async start(units: readonly string[]): Promise<void> {
    const wants = units.map((unit) => `Wants=${unit}\n`).join('');
    this.write(`/etc/systemd/system/${TARGET}`, `[Unit]\nRequires=basic.target\nAfter=basic.target\n${wants}`);
    const tun = existsSync('/dev/net/tun') ? ['--bind=/dev/net/tun'] : [];
    const network = existsSync(this.#network) ? [`--network-namespace-path=${this.#network}`] : ['--private-network'];
    const own = [
      '--pdeathsig',
      'KILL',
      '--',
      'unshare',
      '--mount',
      '--propagation',
      'private',
      'sh',
      '-c',
      BOOT,
      'sh',
      this.#mounts,
      this.#files,
      this.#name,
    ];
    const args = [...own, ...network, ...ALLOWED, ...tun];
    const env = { ...process.env, SYSTEMD_NSPAWN_API_VFS_WRITABLE: 'network' };
    this.#nspawn = spawn('setpriv', args, { stdio: ['ignore', 'ignore', 'pipe'], env });
    this.#nspawn.stderr?.on('data', (chunk) => {
      this.#complaints += chunk;
    });
    await this.#answers();
  }

  /** As `reboot` typed there: files stay, processes don't. `whenDown` comes as the next boot begins. */
  async reboot(whenDown: () => Promise<void>): Promise<void> {
    const old = this.#leader;
    await this.run('systemctl', 'reboot');
    this.#leader = 0;
    await this.until(() => !existsSync(`/proc/${old}`));
    await whenDown();
    await this.#answers();
  }

  /** The network namespace to boot in, and to reboot in: that of a process. */
  useNetwork(pid: number): void {
    rmSync(this.#network, { force: true });
    symlinkSync(`/proc/${pid}/ns/net`, this.#network);
  }

  async #answers(): Promise<void> {
    await this.until(() => this.#findLeader());
    await this.until(async () => /starting|running|degraded/.test(await this.#state()));
  }

  #state(): Promise<string> {
    return this.run('systemctl', 'is-system-running');
  }

  /** The same file, seen from outside, while the host runs. */
  path(inside: string): string {
    return `/proc/${this.#leader}/root${inside}`;
  }

  /** Standard output of a command on the host, trimmed; its status is ignored (systemctl's tells states). */
  async run(...argv: readonly string[]): Promise<string> {
    const { stdout } = await this.#execute(argv).catch((error: { stdout?: string }) => ({
      stdout: error.stdout ?? '',
    }));
    return stdout.trim();
  }

  /** As run, but rejects where the command fails. */
  async must(...argv: readonly string[]): Promise<string> {
    return (await this.#execute(argv)).stdout.trim();
  }

  #execute(argv: readonly string[]): Promise<{ stdout: string }> {
    const namespaces = ['-t', String(this.#leader), '-m', '-p', '-u', '-i', '-n', '-C', '--', ...argv];
    return promisify(execFile)('nsenter', namespaces, { encoding: 'utf8', timeout: 60_000 });
  }

  /** One property of a unit, as `systemctl show` prints it. */
  async show(unit: string, property: string): Promise<string> {
    return this.run('systemctl', 'show', unit, '--value', '-p', property);
  }

  /** Waits for a condition; rejects after 60 s. */
  async until(condition: () => boolean | Promise<boolean>): Promise<void> {
    const signal = AbortSignal.timeout(60_000);
    while (!(await condition())) {
      if (this.#nspawn === undefined || !isRunning(this.#nspawn))
        throw new Error(`the host is gone: ${this.#complaints}`);
      await sleep(50, undefined, { signal });
    }
  }

  /** Ends every process of the host at once, and removes its files. */
  async halt(): Promise<void> {
    const nspawn = this.#nspawn;
    if (nspawn !== undefined && isRunning(nspawn)) {
      const ended = new Promise((resolve) => nspawn.once('exit', resolve));
      if (this.#leader > 0) process.kill(this.#leader, 'SIGKILL');
      else nspawn.kill('SIGKILL');
      await ended;
    }
    for (const path of [this.#mounts, this.#files, dirname(this.#network)])
      rmSync(path, { recursive: true, force: true });
    // nspawn leaves the directory that it hands mounts over by.
    rmSync(`/run/systemd/nspawn/propagate/${this.#name}`, { recursive: true, force: true });
    for (const base of ['', 'systemd/', 'unified/']) removeCgroup(`/sys/fs/cgroup/${base}${this.#name}`);
  }

  /** The container's PID 1: the child that nspawn has once the container is set up. */
  #findLeader(): boolean {
    const child = childOf(childOf(this.#nspawn?.pid ?? 0));
    if (child > 0 && readFileSync(`/proc/${child}/comm`, 'utf8').trim() === 'systemd') this.#leader = child;
    return this.#leader > 0;
  }

  #prepare(target: string): string {
    const path = join(this.#files, target);
    mkdirSync(dirname(path), { recursive: true });
    return path;
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

/** @returns 0 where it has none */
function childOf(pid: number): number {
  return pid === 0 ? 0 : Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')[0]);
}

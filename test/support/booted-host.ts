/**
 * A real systemd as PID 1, booted by systemd-nspawn from an overlay of this very machine: lower = /, upper = a tmpfs
 * that vanishes with the mount namespace it lies in. Only a target of our own is started, in a network of its own.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { removeCgroup } from './cgroups.ts';

const TARGET = 'tartan-test.target';

/** $1 = directory for the mounts, $2 = files to lay over the machine, $3 = name, $4 = more options for nspawn. */
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
exec systemd-nspawn -D $1/root --boot --register=no --keep-unit --machine=$3 --console=pipe --link-journal=no \\
  --private-network $4 \\
  systemd.unit=${TARGET}
`;

export function bootLack(): string | undefined {
  if (process.getuid?.() !== 0) return 'root';
  if (spawnSync('systemd-nspawn', ['--version']).status !== 0) return 'systemd-nspawn (Debian: systemd-container)';
  return existsSync('/lib/systemd/systemd') ? undefined : 'systemd (Debian: systemd-sysv)';
}

export class BootedHost {
  readonly #name = `tartan-boot-${randomBytes(4).toString('hex')}`;
  readonly #mounts = mkdtempSync(join(tmpdir(), `${this.#name}-m-`));
  readonly #files = mkdtempSync(join(tmpdir(), `${this.#name}-f-`));
  #nspawn: ChildProcess | undefined;
  #leader = 0;
  #complaints = '';

  /** Puts a file or a directory of the machine at `target` of the host to be booted. */
  copy(source: string, target: string): void {
    cpSync(source, this.#prepare(target), { recursive: true, dereference: true });
  }

  write(target: string, text: string, mode = 0o644): void {
    writeFileSync(this.#prepare(target), text, { mode });
  }

  /** Boots with these units wanted; resolves when systemd answers. */
  async boot(units: readonly string[]): Promise<void> {
    const wants = units.map((unit) => `Wants=${unit}\n`).join('');
    this.write(`/etc/systemd/system/${TARGET}`, `[Unit]\nRequires=basic.target\nAfter=basic.target\n${wants}`);
    const tun = existsSync('/dev/net/tun') ? '--bind=/dev/net/tun' : '';
    const args = [
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
      tun,
    ];
    const env = { ...process.env, SYSTEMD_NSPAWN_API_VFS_WRITABLE: 'network' };
    this.#nspawn = spawn('unshare', args, { stdio: ['ignore', 'ignore', 'pipe'], env });
    this.#nspawn.stderr?.on('data', (chunk) => {
      this.#complaints += chunk;
    });
    await this.until(() => this.#findLeader());
    await this.until(async () => /running|degraded/.test(await this.run('systemctl', 'is-system-running')));
  }

  /** Standard output of a command on the host, trimmed; its status is ignored (systemctl's tells states). */
  async run(...argv: readonly string[]): Promise<string> {
    const namespaces = ['-t', String(this.#leader), '-m', '-p', '-u', '-i', '-n', '-C', '--', ...argv];
    const outcome = promisify(execFile)('nsenter', namespaces, { encoding: 'utf8', timeout: 30_000 });
    const { stdout } = await outcome.catch((error: { stdout?: string }) => ({ stdout: error.stdout ?? '' }));
    return stdout.trim();
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
    for (const path of [this.#mounts, this.#files]) rmSync(path, { recursive: true, force: true });
    // nspawn leaves the directory that it hands mounts over by.
    rmSync(`/run/systemd/nspawn/propagate/${this.#name}`, { recursive: true, force: true });
    for (const base of ['', 'systemd/', 'unified/']) removeCgroup(`/sys/fs/cgroup/${base}${this.#name}`);
  }

  /** The container's PID 1: the child that nspawn has once the container is set up. */
  #findLeader(): boolean {
    const pid = this.#nspawn?.pid ?? 0;
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
    const command = child ? readFileSync(`/proc/${child}/comm`, 'utf8').trim() : '';
    if (command === 'systemd') this.#leader = Number(child);
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

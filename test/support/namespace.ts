/**
 * A machine in miniature: network, mount, UTS and IPC namespaces of its own, held open by one sleeping process. It has a
 * private /run, /sys, and copy-on-write /etc and /var/lib whose changes live in memory. Processes enter it with nsenter
 * and keep their pid, so signals go straight to them; when the last one is gone, so are links, mounts and files.
 */
import { readFile } from 'node:fs/promises';
import { MARK, markOf, mountNamespace } from './ownership.ts';
import { type Argv, type ExecOptions, execute, LabProcess, mustExecute, type Outcome } from './process.ts';

// ARGS: host name, machine-id. Where overlayfs is missing, /var/lib/tartan and the machine-id alone are private.
const SETUP = `
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 netlab /run
mkdir -p /run/lock /run/.lab
if [ -d /sys/fs/cgroup ]; then mkdir /run/.lab/cgroup; mount --rbind /sys/fs/cgroup /run/.lab/cgroup; fi
mount -t sysfs sysfs /sys
if [ -d /run/.lab/cgroup ]; then mount --rbind /run/.lab/cgroup /sys/fs/cgroup; umount -l /run/.lab/cgroup; fi
private() {
  mkdir -p /run/.lab/$1/upper /run/.lab/$1/work
  mount -t overlay -o lowerdir=$2,upperdir=/run/.lab/$1/upper,workdir=/run/.lab/$1/work netlab $2 2>/dev/null
}
if private etc /etc; then
  rm -f /etc/machine-id
  echo "$2" >/etc/machine-id
else
  echo "$2" >/run/.lab/machine-id
  [ -e /etc/machine-id ] || touch /etc/machine-id
  mount --bind /run/.lab/machine-id /etc/machine-id
fi
private lib /var/lib || { mkdir -p /var/lib/tartan && mount -t tmpfs netlab /var/lib/tartan; }
hostname "$1"
ip link set lo up
echo ready
exec sleep infinity
`;

/** Something to run commands in. `N` in `--net` may be another network namespace of the same machine. */
export abstract class Place {
  readonly name: string;
  readonly lab: string;
  /** Process that holds the namespaces. */
  abstract readonly pid: number;

  constructor(name: string, lab: string) {
    this.name = name;
    this.lab = lab;
  }

  /** What to put before a command so that it runs here; also for people to type. */
  abstract get enter(): Argv;

  exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<Outcome> {
    return execute([...this.enter, command, ...args], this.#marked(options));
  }

  /** As exec, but rejects unless the command succeeds. @returns stdout */
  run(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<string> {
    return mustExecute([...this.enter, command, ...args], this.#marked(options));
  }

  spawn(command: string, args: readonly string[] = [], options: ExecOptions = {}): LabProcess {
    const title = `${this.name}: ${command.split('/').at(-1)}`;
    return new LabProcess(title, [...this.enter, command, ...args], this.#marked(options));
  }

  /** Many `ip` commands, one a line, in one process. */
  async configure(...lines: readonly string[]): Promise<void> {
    await this.run('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` });
  }

  #marked(options: ExecOptions): ExecOptions {
    return { ...options, env: { [MARK]: markOf(this.lab), ...options.env } };
  }
}

export class Namespace extends Place {
  readonly pid: number;
  readonly mounts: string;
  readonly holder: LabProcess;

  protected constructor(name: string, lab: string, holder: LabProcess) {
    super(name, lab);
    this.holder = holder;
    this.pid = holder.pid;
    this.mounts = mountNamespace(holder.pid) ?? '';
  }

  static async hold(name: string, lab: string, machineId: string): Promise<LabProcess> {
    const argv: Argv = [
      'unshare',
      '--net',
      '--mount',
      '--uts',
      '--ipc',
      '--',
      'sh',
      '-c',
      SETUP,
      'sh',
      name,
      machineId,
    ];
    const holder = new LabProcess(`${name} (namespaces)`, argv, { env: { [MARK]: markOf(lab) } });
    await holder.until(/^ready$/);
    return holder;
  }

  static async create(name: string, lab: string, machineId: string): Promise<Namespace> {
    return new Namespace(name, lab, await Namespace.hold(name, lab, machineId));
  }

  get enter(): Argv {
    return ['nsenter', '-t', String(this.pid), '-n', '-m', '-u', '-i', '--'];
  }

  /** The same file, seen from outside. */
  path(inside: string): string {
    return `/proc/${this.pid}/root${inside}`;
  }

  /** @returns undefined where there is no such file */
  async read(inside: string): Promise<string | undefined> {
    try {
      return await readFile(this.path(inside), 'utf8');
    } catch {
      return undefined;
    }
  }
}

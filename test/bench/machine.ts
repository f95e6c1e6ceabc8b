/** The machine and the versions that the figures belong to. */
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { execute } from '../support/process.ts';
import { readRepository } from '../support/repository.ts';

export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGb: number;
  readonly kernel: string;
  readonly node: string;
  readonly etcd: string;
  readonly tartan: string;
  readonly flanneld: string | undefined;
  /** Of the last minute, before anything was started. */
  readonly load: number;
}

/** A flanneld that `go install` built calls itself "dev"; Go notes in the binary which module it came from. */
export function versionInBinary(bytes: Buffer): string | undefined {
  const at = bytes.indexOf('mod\tgithub.com/flannel-io/flannel\t');
  if (at < 0) return undefined;
  return bytes.toString('latin1', at, at + 200).split('\t')[2];
}

async function flanneldVersion(path: string): Promise<string> {
  const { stdout, stderr } = await execute([path, '--version']);
  const said = (stderr + stdout).trim();
  return /^v?\d/.test(said) ? said : (versionInBinary(readFileSync(path)) ?? said);
}

function tartanVersion(): string {
  const manifest: { readonly version?: string } = JSON.parse(readRepository('package.json'));
  return manifest.version ?? 'unknown';
}

export async function describeMachine(flanneld: string | undefined): Promise<Machine> {
  const { stdout } = await execute(['etcd', '--version']);
  return {
    cores: cpus().length,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    etcd: /Version: (\S+)/.exec(stdout)?.[1] ?? 'unknown',
    tartan: tartanVersion(),
    flanneld: flanneld === undefined ? undefined : await flanneldVersion(flanneld),
    load: loadavg()[0] ?? 0,
  };
}

export function formatMachine(machine: Machine): string {
  const { cores, cpu, memoryGb, kernel, node, etcd, tartan, flanneld, load } = machine;
  const hardware = `${cores} × ${cpu}, ${memoryGb} GB, Linux ${kernel}, load ${load.toFixed(1)}`;
  const versions = [`tartan ${tartan}`, `node ${node}`, `etcd ${etcd}`, ...(flanneld ? [`flanneld ${flanneld}`] : [])];
  return `${hardware}; ${versions.join(', ')}`;
}

import { HostPrograms } from '../../backends/firewall/programs.ts';
import { openKernel } from '../../backends/kernel/linux-kernel.ts';
import { TartanError } from '../../config/errors.ts';
import type { Invocation } from '../../config/invocation.ts';
import { silentLog } from '../../config/log.ts';
import type { Engine } from '../docker/engine.ts';
import { gatherFacts } from '../docker/facts.ts';
import { type Finding, renderFindings } from '../docker/finding.ts';
import { findingsOf } from '../docker/findings.ts';

/**
 * `tartan docker check [--json]`: what would stop a packet between containers of this host and others, and how to mend
 * it. @returns 0, or the status of NOT_READY where something stops packets, or will.
 */
export async function dockerCheck({ options }: Invocation): Promise<number> {
  const kernel = await openKernel(silentLog);
  try {
    const path = process.env['PATH'] ?? '';
    const facts = await gatherFacts({ options, programs: new HostPrograms(), kernel, path });
    const findings = findingsOf(facts);
    process.stdout.write(options.json ? toJson(facts.engine, findings) : toText(facts.engine, findings));
    return findings.every(({ severity }) => severity === 'note') ? 0 : new TartanError('NOT_READY', '').exitStatus;
  } finally {
    kernel.close();
  }
}

function toJson(engine: Engine, findings: readonly Finding[]): string {
  const { isFound, pid, version, apiVersion } = engine;
  const firewall = engine.runningBackend ?? engine.chosenBackend?.value ?? null;
  const docker = {
    isFound,
    isRunning: pid !== undefined,
    version: version ?? null,
    apiVersion: apiVersion ?? null,
    firewall,
  };
  return `${JSON.stringify({ docker, findings }, null, 2)}\n`;
}

function toText(engine: Engine, findings: readonly Finding[]): string {
  const head = engine.isFound ? `${headline(engine)}\n\n` : '';
  return head + (findings.length === 0 ? 'Nothing is in the way of packets.\n' : renderFindings(findings));
}

/** `Docker 29.1.0 (API 1.52) runs, its firewall: nftables. Its program: /usr/bin/dockerd.` */
function headline({ pid, version, apiVersion, runningBackend, chosenBackend, dockerd }: Engine): string {
  const state = pid ? `Docker ${version} (API ${apiVersion}) runs` : 'Docker does not run, or does not answer';
  const firewall = runningBackend ?? chosenBackend?.value;
  const program = dockerd ? ` Its program, by ${dockerd.from}: ${dockerd.value}.` : '';
  return `${state}${firewall ? `, its firewall: ${firewall}` : ''}.${program}`;
}

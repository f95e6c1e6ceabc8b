/** The files that Docker and CNI plugins read. */
import type { Log } from '../config/log.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import type { Options } from '../config/options.ts';
import type { LeaseSubnets } from '../leases/lease.ts';
import { writeFileAtomically } from './atomic-file.ts';
import { dockerNetworkOptions } from './docker/docker-opts.ts';
import { formatSubnetEnv } from './subnet-env.ts';

export interface Publication {
  readonly config: NetworkConfig;
  readonly own: LeaseSubnets;
  readonly mtuBytes: number;
  /** Of dockerd, beside those of the subnet; asked for when the subnet file is written. Never rejects. */
  dockerFlags(): Promise<readonly string[]>;
}

type Where = Pick<Options, 'subnetFile' | 'dockerOptsFile' | 'dockerOptsKey' | 'ipMasq'>;

/** Paths of what `publish` writes. */
export function publishedFiles({ subnetFile, dockerOptsFile }: Where): readonly string[] {
  return dockerOptsFile === '' ? [subnetFile] : [subnetFile, dockerOptsFile];
}

/** Writes subnet.env, then the docker options; unchanged files are left alone. Rejects with PERMISSION. */
export async function publish(
  { config, own, mtuBytes, dockerFlags }: Publication,
  where: Where,
  log: Log,
): Promise<void> {
  const { subnetFile, dockerOptsFile, dockerOptsKey: key, ipMasq } = where;
  if (await writeFileAtomically(subnetFile, formatSubnetEnv({ config, own, mtuBytes, ipMasq }))) {
    log.info('wrote the subnet file', { file: subnetFile, subnet: own.subnet });
  }
  if (dockerOptsFile === '') return;
  const extraFlags = await dockerFlags();
  if (await writeFileAtomically(dockerOptsFile, dockerNetworkOptions({ own, mtuBytes, ipMasq, key, extraFlags }))) {
    log.info('wrote the docker options', { file: dockerOptsFile });
  }
}

/** The lease as keys of daemon.json, for hosts where Docker gets no flags from tartan. Pure. */
import { parseEnv } from 'node:util';
import { containsPrefix, parsePrefix } from '../../config/address.ts';
import { dockerWays, type Engine } from './engine.ts';

export type SettingsResult =
  | { readonly ok: true; readonly settings: ReadonlyMap<string, unknown>; readonly notes: readonly string[] }
  | { readonly ok: false; readonly reason: string };

const NETWORK_OPTS = 'default-network-opts';

/**
 * @param subnetEnv text of the subnet file, undefined where there is none.
 * @param withIpMasq whether ip-masq is among them.
 * @param found what the file says so far.
 */
export function daemonSettings(
  subnetEnv: string | undefined,
  withIpMasq: boolean,
  engine: Engine,
  found: ReadonlyMap<string, unknown>,
): SettingsResult {
  const variables = parseEnv(subnetEnv ?? '');
  const { FLANNEL_SUBNET: bip, FLANNEL_MTU: mtu, FLANNEL_IPMASQ: ipMasq } = variables;
  if (!bip || !mtu || !/^[1-9]\d*$/.test(mtu)) return { ok: false, reason: 'it names no subnet or no MTU' };
  if (ipMasq !== 'true' && ipMasq !== 'false') return { ok: false, reason: 'FLANNEL_IPMASQ is neither true nor false' };
  const settings = new Map<string, unknown>([
    ['bip', isPartOf(bip, found.get('bip')) ? found.get('bip') : bip],
    ['mtu', Number(mtu)],
  ]);
  if (withIpMasq) settings.set('ip-masq', ipMasq === 'false');
  const { extraFlags, notes } = dockerWays(engine, 'auto');
  for (const flag of extraFlags) {
    const [name = '', value] = flag.replace(/^--/, '').split('=');
    settings.set(name, value ?? true);
  }
  // Networks that users define get Docker's 1500 else, which does not fit into the tunnel.
  if (engine.knownFlags?.value.has('default-network-opt') && isOurs(found.get(NETWORK_OPTS))) {
    settings.set(NETWORK_OPTS, { bridge: { [MTU]: mtu } });
  }
  return { ok: true, settings, notes };
}

const MTU = 'com.docker.network.driver.mtu';

/** Nobody else's choice is overridden: none is there, or the one that tartan makes. */
function isOurs(value: unknown): boolean {
  const text = JSON.stringify(value ?? {});
  return text === '{}' || /^\{"bridge":\{"com\.docker\.network\.driver\.mtu":"\d+"\}\}$/.test(text);
}

/** An operator may leave a part of the lease to networks that users define. */
function isPartOf(lease: string, bip: unknown): boolean {
  const [whole, part] = [parsePrefix(lease), parsePrefix(String(bip))];
  return whole !== undefined && part !== undefined && containsPrefix(whole, part);
}

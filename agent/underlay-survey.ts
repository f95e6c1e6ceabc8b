import type { Underlay } from '../backends/backend.ts';
import type { Families } from '../backends/backend-config.ts';
import { selectUnderlay } from '../backends/external-interface.ts';
import type { Kernel } from '../backends/kernel/kernel.ts';
import type { Ip, Prefix } from '../config/address.ts';
import { prefixLength, prefixOf } from '../config/address.ts';
import { TartanError } from '../config/errors.ts';
import type { Log } from '../config/log.ts';
import type { Options } from '../config/options.ts';

/** How this host reaches the others, and what no peer's lease may cover because of it. */
export interface UnderlaySurvey {
  readonly underlay: Underlay;
  /** Networks of the interface's own addresses. */
  readonly underlayNetworks: readonly Prefix[];
  readonly gateways: readonly Ip[];
}

/** Reads the host's interfaces and chooses one. Rejects with INTERFACE_NOT_FOUND. */
export async function surveyUnderlay(
  kernel: Kernel,
  options: Options,
  families: Families,
  log: Log,
): Promise<UnderlaySurvey> {
  const { iface, ifaceRegex, ifaceCanReach, publicIp, publicIpv6: publicIp6 } = options;
  const wish = { iface, ifaceRegex, ifaceCanReach, publicIp, publicIp6, families };
  const links = await kernel.links();
  const addresses = [...(await kernel.addresses(4)), ...(await kernel.addresses(6))];
  const routes = [...(await kernel.routes(4)), ...(await kernel.routes(6))];
  const [reach] = ifaceCanReach ? await kernel.lookup([ifaceCanReach]) : [];
  const selected = selectUnderlay(wish, { links, addresses, routes, reach });
  if (!selected.ok) {
    const hint = 'choose the interface by --iface, --iface-regex or --iface-can-reach';
    throw new TartanError('INTERFACE_NOT_FOUND', `${selected.reason}; ${hint}`);
  }
  const { underlay } = selected;
  for (const note of selected.notes) log.warn('the interface was not chosen as one may think', { note });
  const own = addresses.filter(({ dev }) => dev === underlay.dev);
  const gateways = routes.flatMap(({ dst, gateway }) => (prefixLength(dst) === 0 && gateway ? [gateway] : []));
  return { underlay, underlayNetworks: own.map(({ ip, length }) => prefixOf(ip, length)), gateways };
}

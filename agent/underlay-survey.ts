import type { Underlay } from '../backends/backend.ts';
import type { Families } from '../backends/backend-config.ts';
import { type HostFacts, selectUnderlay, type UnderlayWish } from '../backends/external-interface.ts';
import type { Kernel } from '../backends/kernel/kernel.ts';
import type { AddressInfo, RouteInfo } from '../backends/state.ts';
import { followUnderlay, sameUnderlay, stays } from '../backends/underlay-change.ts';
import type { Ip, Prefix } from '../config/address.ts';
import { prefixOf } from '../config/address.ts';
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

export type SurveyChange =
  /** `note`: what the operator should mend all the same. */
  | { readonly ok: true; readonly survey: UnderlaySurvey; readonly note: string | undefined }
  | { readonly ok: false; readonly reason: string };

type Asked = Pick<Options, 'iface' | 'ifaceRegex' | 'ifaceCanReach' | 'publicIp' | 'publicIpv6'>;

/** Reads the host's interfaces and chooses one. Rejects with INTERFACE_NOT_FOUND. */
export async function surveyUnderlay(
  kernel: Kernel,
  options: Asked,
  families: Families,
  log: Log,
): Promise<UnderlaySurvey> {
  const facts = { ...(await readDevices(kernel)), ...(await readRouting(kernel, options)) };
  const selected = selectUnderlay(wishOf(options, families), facts);
  if (!selected.ok) {
    const hint = 'choose the interface by --iface, --iface-regex or --iface-can-reach';
    throw new TartanError('INTERFACE_NOT_FOUND', `${selected.reason}; ${hint}`);
  }
  for (const note of selected.notes) log.warn('the interface was not chosen as one may think', { note });
  return surveyOf(selected.underlay, facts.addresses, gatewaysIn(facts.routes));
}

/**
 * The same later: what has become of the interface that was chosen.
 * @param areRoutesInDoubt whether default routes may have changed: reading them takes long on a router.
 */
export async function surveyAgain(
  kernel: Kernel,
  options: Asked,
  families: Families,
  current: UnderlaySurvey,
  areRoutesInDoubt: boolean,
): Promise<SurveyChange> {
  const devices = await readDevices(kernel);
  const needsRoutes = areRoutesInDoubt || !stays(current.underlay, devices);
  const routing = needsRoutes ? await readRouting(kernel, options) : { routes: [] };
  const change = followUnderlay(current.underlay, wishOf(options, families), { ...devices, ...routing });
  if (!change.ok) return change;
  const gateways = needsRoutes ? gatewaysIn(routing.routes) : current.gateways;
  return { ok: true, survey: surveyOf(change.underlay, devices.addresses, gateways), note: change.note };
}

export function sameSurvey(a: UnderlaySurvey, b: UnderlaySurvey): boolean {
  return (
    sameUnderlay(a.underlay, b.underlay) &&
    sameList(a.underlayNetworks, b.underlayNetworks) &&
    sameList(a.gateways, b.gateways)
  );
}

function wishOf({ publicIpv6: publicIp6, ...asked }: Asked, families: Families): UnderlayWish {
  return { ...asked, publicIp6, families };
}

async function readDevices(kernel: Kernel): Promise<Pick<HostFacts, 'links' | 'addresses'>> {
  const links = await kernel.links();
  return { links, addresses: [...(await kernel.addresses(4)), ...(await kernel.addresses(6))] };
}

async function readRouting(
  kernel: Kernel,
  { ifaceCanReach }: Pick<Asked, 'ifaceCanReach'>,
): Promise<Pick<HostFacts, 'routes' | 'reach'>> {
  const routes = [...(await kernel.defaultRoutes(4)), ...(await kernel.defaultRoutes(6))];
  const [reach] = ifaceCanReach ? await kernel.lookup([ifaceCanReach]) : [];
  return { routes, reach };
}

function surveyOf(underlay: Underlay, addresses: readonly AddressInfo[], gateways: readonly Ip[]): UnderlaySurvey {
  const own = addresses.filter(({ dev }) => dev === underlay.dev);
  return { underlay, underlayNetworks: own.map(({ ip, length }) => prefixOf(ip, length)), gateways };
}

function gatewaysIn(routes: readonly RouteInfo[]): readonly Ip[] {
  return routes.flatMap(({ gateway }) => gateway ?? []);
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one) => b.includes(one));
}

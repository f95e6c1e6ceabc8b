/**
 * Others' routes that take packets away from a peer: the kernel prefers the longer prefix, and of one prefix the lower
 * metric. They are none of ours to remove; that they are there is to be said.
 */
import { containsPrefix, familyOf, networkAddress, type Prefix, prefixLength, prefixOf } from '../config/address.ts';
import { formatBareRoute } from './operation-text.ts';
import { isOurs, type Ownership } from './ownership.ts';
import type { Desired } from './plan.ts';
import { DEFAULT_METRIC, type RouteInfo, routeKey, YIELDING_METRIC } from './state.ts';

export interface Shadow {
  readonly route: RouteInfo;
  /** The destination of our route that lies in the shadow: a peer's, or the network. */
  readonly peer: Prefix;
}

/** Named one by one; of more, the first ones and the count. */
const LISTED = 5;

/** @param routes as found, ours among them. What leads into our own subnet takes nothing away: it is where packets end. */
export function shadows(routes: Iterable<RouteInfo>, desired: Desired, policy: Ownership): Shadow[] {
  const found: Shadow[] = [];
  for (const route of routes) {
    const isNone = isOurRoute(route, policy) || leadsToOwn(route.dst, policy);
    const peer = isNone ? undefined : shadowedPeer(route.dst, route.metric, desired);
    if (peer !== undefined) found.push({ route, peer });
  }
  return found;
}

export function leadsToOwn(dst: Prefix, { ownSubnets = [] }: Ownership): boolean {
  return ownSubnets.some((own) => containsPrefix(own, dst));
}

/** Which of our routes, a peer's or one to all of them, a route to there would get in front of: its destination. */
export function shadowedPeer(dst: Prefix, metric: number, desired: Desired): Prefix | undefined {
  const address = networkAddress(dst);
  for (let length = prefixLength(dst); length >= 0; length--) {
    const ours = prefixOf(address, length);
    const isBefore = (other: number): boolean => length < prefixLength(dst) || metric < other;
    if (desired.has(routeKey(ours)) && isBefore(DEFAULT_METRIC[familyOf(dst)])) return ours;
    if (desired.has(routeKey(ours, YIELDING_METRIC)) && isBefore(YIELDING_METRIC)) return ours;
  }
  return undefined;
}

/** What will be swept, or is where it should be, is no stranger's. */
function isOurRoute({ dst, dev, gateway, onlink, nexthopId, protocol }: RouteInfo, policy: Ownership): boolean {
  const object = {
    kind: 'route',
    dst,
    dev: dev ?? '',
    gateway: gateway ?? networkAddress(dst),
    onlink,
    nexthopId,
  } as const;
  return isOurs({ object, protocol, permanent: true }, policy);
}

/** For the operator; undefined: there are none. */
export function shadowProblem(found: readonly Shadow[]): string | undefined {
  if (found.length === 0) return undefined;
  const named = found.slice(0, LISTED).map(({ route, peer }) => `${describe(route)} (before ${peer})`);
  const more = found.length > LISTED ? ` and ${found.length - LISTED} more` : '';
  return `others' routes take packets away from peers, and are left alone: ${named.join(', ')}${more}; remove them where nothing needs them (ip route del …)`;
}

function describe(route: RouteInfo): string {
  const via = route.gateway === undefined ? '' : `via ${route.gateway} `;
  return `${route.dst} ${via}${formatBareRoute(route)}`;
}

import { familyOf } from '../config/address.ts';
import {
  type KernelObject,
  type Link,
  type Observed,
  type Route,
  TARTAN_PROTOCOL,
  type VxlanAttributes,
} from './state.ts';

/** Whether two objects of one key say the same. Objects of different keys are never the same. */
export function sameObject(a: KernelObject, b: KernelObject): boolean {
  switch (a.kind) {
    case 'link':
      return b.kind === 'link' && sameLink(a, b);
    case 'address':
      return b.kind === 'address' && a.dev === b.dev && a.ip === b.ip && a.length === b.length;
    case 'neighbour':
      return b.kind === 'neighbour' && a.dev === b.dev && a.ip === b.ip && a.mac === b.mac;
    case 'fdb':
      return b.kind === 'fdb' && a.dev === b.dev && a.mac === b.mac && a.dst === b.dst;
    case 'nexthop':
      return b.kind === 'nexthop' && a.id === b.id && sameHop(a, b);
    case 'route':
      return b.kind === 'route' && sameRoute(a, b);
  }
}

function sameLink(a: Link, b: Link): boolean {
  const plain = a.name === b.name && a.mac === b.mac && a.mtuBytes === b.mtuBytes && a.up === b.up;
  return plain && sameMake(a, b) && sameRest(a.vxlan, b.vxlan);
}

function sameRest(a: VxlanAttributes | undefined, b: VxlanAttributes | undefined): boolean {
  return a?.local === b?.local && a?.lower === b?.lower && a?.learning === b?.learning;
}

/** Whether two devices differ in nothing but what the kernel changes in place: of another make, one is made anew. */
export function sameMake(a: Link, b: Link): boolean {
  if (a.vxlan && b.vxlan) return sameTunnel(a.vxlan, b.vxlan);
  return a.vxlan === b.vxlan && (a.mac === undefined) === (b.mac === undefined);
}

/** vxlan_changelink refuses these. */
function sameTunnel(a: VxlanAttributes, b: VxlanAttributes): boolean {
  return a.vni === b.vni && a.port === b.port && a.gbp === b.gbp && familyOf(a.local) === familyOf(b.local);
}

/**
 * A route on a nexthop object is told by its id alone: gateway and device are the object's, and the kernel leaves them
 * out of its answers where net.ipv4.nexthop_compat_mode is 0.
 */
function sameRoute(a: Route, b: Route): boolean {
  if (a.dst !== b.dst || a.metric !== b.metric || a.nexthopId !== b.nexthopId || a.extras !== b.extras) return false;
  return a.nexthopId !== undefined || sameHop(a, b);
}

type Hop = Pick<Route, 'dev' | 'gateway' | 'onlink'>;

function sameHop(a: Hop, b: Hop): boolean {
  return a.dev === b.dev && a.gateway === b.gateway && a.onlink === b.onlink;
}

/** Whether what stands there is the wanted object in every respect, our marks on it included. */
export function isSatisfied(wanted: KernelObject, found: Observed): boolean {
  return sameObject(wanted, found.object) && markFault(found) === undefined;
}

/** Whether nothing has changed about it, nor about what tells whose it is. */
export function sameObserved(a: Observed, b: Observed): boolean {
  return sameObject(a.object, b.object) && markFault(a) === markFault(b);
}

/** What keeps an object of the right value from being as we would have made it. */
export function markFault(found: Observed): string | undefined {
  switch (found.object.kind) {
    case 'neighbour':
    case 'fdb':
      return found.permanent ? undefined : 'learnt, not permanent';
    case 'nexthop':
    case 'route':
      return found.protocol === TARTAN_PROTOCOL ? undefined : `protocol ${found.protocol}`;
    default:
      return undefined;
  }
}

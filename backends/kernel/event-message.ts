import { BOOT_PROTOCOL, MAIN_TABLE, metricIn, RTN_UNICAST, TARTAN_PROTOCOL } from '../state.ts';
import { decodeAddress, RTM_DELADDR, RTM_NEWADDR } from './address-message.ts';
import type { DeviceTable } from './device-table.ts';
import type { KernelEvent } from './kernel.ts';
import { decodeLink, RTM_DELLINK, RTM_NEWLINK } from './link-message.ts';
import type { Message } from './message.ts';
import { decodeFdbEntry, decodeNeighbour, neighbourDevice, RTM_DELNEIGH, RTM_NEWNEIGH } from './neighbour-message.ts';
import { netconfDevice, RTM_NEWNETCONF } from './netconf-message.ts';
import { decodeNexthop, nexthopIdIn, RTM_DELNEXTHOP, RTM_NEWNEXTHOP } from './nexthop-message.ts';
import { decodeRoute, RTM_DELROUTE, RTM_NEWROUTE, type TableRoute } from './route-message.ts';

type Verb = 'set' | 'delete';

/** What one message of the monitor says: mostly one event or none. The table of devices learns from it. */
export function decodeEvents(message: Message, devices: DeviceTable): KernelEvent[] {
  switch (message.type) {
    case RTM_NEWNEIGH:
      return neighbourEvents(message, 'set', devices);
    case RTM_DELNEIGH:
      return neighbourEvents(message, 'delete', devices);
    case RTM_NEWROUTE:
      return routeEvents(message, 'set', devices);
    case RTM_DELROUTE:
      return routeEvents(message, 'delete', devices);
    case RTM_NEWNEXTHOP:
      return nexthopEvents(message, 'set', devices);
    case RTM_DELNEXTHOP:
      return nexthopEvents(message, 'delete', devices);
    case RTM_NEWLINK:
      return linkSet(message, devices);
    case RTM_DELLINK:
      return linkDeleted(message, devices);
    case RTM_NEWADDR:
      return addressEvents(message, 'set', devices);
    case RTM_DELADDR:
      return addressEvents(message, 'delete', devices);
    case RTM_NEWNETCONF:
      return sysctlEvents(message, devices);
    default:
      return [];
  }
}

function linkSet(message: Message, devices: DeviceTable): KernelEvent[] {
  const link = decodeLink(message, devices.nameOf);
  if (link === undefined) return [];
  const before = devices.learn(link.index, link.name, link.type);
  const renamed: KernelEvent[] = before === undefined ? [] : [{ verb: 'delete', link: before }];
  return [...renamed, { verb: 'set', link: link.name }];
}

function linkDeleted(message: Message, devices: DeviceTable): KernelEvent[] {
  const link = decodeLink(message, devices.nameOf);
  if (link === undefined) return [];
  devices.gone(link.index, link.name);
  return [{ verb: 'delete', link: link.name }];
}

function addressEvents(message: Message, verb: Verb, devices: DeviceTable): KernelEvent[] {
  const found = decodeAddress(message, (index) => devices.nameOf(index) ?? `#${index}`);
  return found === undefined ? [] : [{ verb, address: { dev: found.dev, ip: found.ip } }];
}

/** A device that is not known yet has only just been made. */
function sysctlEvents(message: Message, devices: DeviceTable): KernelEvent[] {
  const sysctlsOf = netconfDevice(message, (index) => devices.peek(index));
  return sysctlsOf === undefined ? [] : [{ verb: 'set', sysctlsOf }];
}

/**
 * Only vxlan and tap devices have neighbours, and the former forwarding entries, that we care for. On a busy host the others' come by the
 * thousand, each time that a neighbour is probed, and are not even decoded.
 */
function neighbourEvents(message: Message, verb: Verb, devices: DeviceTable): KernelEvent[] {
  if (!devices.isOverlay(neighbourDevice(message))) return [];
  const observed = decodeNeighbour(message, devices.nameOf) ?? decodeFdbEntry(message, devices.nameOf);
  return observed === undefined ? [] : [{ verb, observed }];
}

/** A nexthop that has no gateway can stand at an id of ours: it is told as a foreign route, `nexthop 5`. */
function nexthopEvents(message: Message, verb: Verb, devices: DeviceTable): KernelEvent[] {
  const observed = decodeNexthop(message, devices.nameOf);
  if (observed !== undefined) return [{ verb, observed }];
  const id = nexthopIdIn(message);
  return id === undefined ? [] : [{ verb, foreignRoute: `nexthop ${id}` }];
}

function routeEvents(message: Message, verb: Verb, devices: DeviceTable): KernelEvent[] {
  const route = decodeRoute(message, devices.nameOf);
  return route === undefined ? [] : [routeEvent(route, verb)];
}

/**
 * Where net.ipv4.nexthop_compat_mode is 0, routes through nexthop objects come without gateway and device; they are
 * told as foreign, with their destination. So are others' routes without a gateway.
 */
function routeEvent({ table, info }: TableRoute, verb: Verb): KernelEvent {
  const { dst, dev, gateway, onlink, nexthopId, protocol, extras } = info;
  const maybeOurs = protocol === TARTAN_PROTOCOL || protocol === BOOT_PROTOCOL;
  const isUnicast = info.type === RTN_UNICAST && table === MAIN_TABLE;
  if (!(maybeOurs && isUnicast) || dev === undefined) return { verb, foreignRoute: dst };
  if (gateway === undefined && protocol !== TARTAN_PROTOCOL) return { verb, foreignRoute: dst };
  const metric = metricIn(info);
  const rest = { ...(metric !== undefined && { metric }), ...(extras && { extras }) };
  const object = { kind: 'route', dst, dev, gateway, onlink, nexthopId, ...rest } as const;
  return { verb, observed: { object, protocol, permanent: false } };
}

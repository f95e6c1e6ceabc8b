/** Objects and operations as one line of iproute2's words each, for plans and logs. */
import {
  type KernelObject,
  type Link,
  type Operation,
  type Route,
  type RouteInfo,
  RTN_UNICAST,
  TARTAN_PROTOCOL,
} from './state.ts';

const COMMANDS = {
  link: 'ip link',
  address: 'ip address',
  neighbour: 'ip neighbour',
  fdb: 'bridge fdb',
  nexthop: 'ip nexthop',
  route: 'ip route',
} as const;
const ROUTE_TYPES = new Map([
  [6, 'blackhole'],
  [7, 'unreachable'],
  [8, 'prohibit'],
  [9, 'throw'],
]);
const VERBS = { set: 'replace', create: 'add', delete: 'del' } as const;

/** `ip route replace 10.5.72.0/24 nhid 1409286145 proto 84 # missing`: no line break at the end. */
export function formatOperation(operation: Operation): string {
  const { verb, object, why } = operation;
  const value = verb === 'delete' ? '' : marked(object);
  const words = [COMMANDS[object.kind], VERBS[verb], formatKey(object), value].filter((word) => word !== '');
  return why === '' ? words.join(' ') : `${words.join(' ')} # ${why}`;
}

/** What the kernel finds the object by. */
function formatKey(object: KernelObject): string {
  switch (object.kind) {
    case 'link':
      return object.name;
    case 'address':
      return `${object.ip}/${object.length} dev ${object.dev}`;
    case 'neighbour':
      return `${object.ip} dev ${object.dev}`;
    case 'fdb':
      return `${object.mac} dev ${object.dev} self`;
    case 'nexthop':
      return `id ${object.id}`;
    case 'route':
      return object.metric === undefined ? object.dst : `${object.dst} metric ${object.metric}`;
  }
}

/** All of the object that its key does not say: `via 10.5.72.0 dev flannel.1 onlink`. "" for an address. */
export function formatValue(object: KernelObject): string {
  switch (object.kind) {
    case 'link':
      return formatLink(object);
    case 'address':
      return '';
    case 'neighbour':
      return `lladdr ${object.mac}`;
    case 'fdb':
      return `dst ${object.dst}`;
    case 'nexthop':
      return formatHop(object);
    case 'route':
      return `${object.nexthopId === undefined ? formatHop(object) : `nhid ${object.nexthopId}`}${extras(object)}`;
  }
}

function extras({ extras: text }: Route): string {
  return text === undefined ? '' : ` ${text}`;
}

function formatHop(hop: Pick<Route, 'dev' | 'gateway' | 'onlink'>): string {
  const via = hop.gateway === undefined ? '' : `via ${hop.gateway} `;
  return `${via}dev ${hop.dev}${hop.onlink ? ' onlink' : ''}`;
}

/** A route without a gateway of its own: `blackhole, protocol 3`, `dev eth1, protocol 2`. */
export function formatBareRoute({ type, dev, nexthopId, protocol }: RouteInfo): string {
  const to = nexthopId !== undefined ? `nhid ${nexthopId}` : dev === undefined ? 'several nexthops' : `dev ${dev}`;
  return `${type === RTN_UNICAST ? to : (ROUTE_TYPES.get(type) ?? `type ${type}`)}, protocol ${protocol}`;
}

function formatLink({ mac, mtuBytes, up, vxlan }: Link): string {
  const device = `${mac === undefined ? '' : `address ${mac} `}mtu ${mtuBytes} ${up ? 'up' : 'down'}`;
  if (vxlan === undefined) return `${device} type ${mac === undefined ? 'tun' : 'tap'}`;
  const tunnel = `type vxlan id ${vxlan.vni} dev ${vxlan.lower} local ${vxlan.local} dstport ${vxlan.port}`;
  return `${device} ${tunnel} ${vxlan.learning ? 'learning' : 'nolearning'}${vxlan.gbp ? ' gbp' : ''}`;
}

/** The value together with the marks that every object of ours gets. */
function marked(object: KernelObject): string {
  const value = formatValue(object);
  switch (object.kind) {
    case 'neighbour':
      return `${value} nud permanent`;
    case 'fdb':
      return `${value} permanent`;
    case 'nexthop':
    case 'route':
      return `${value} proto ${TARTAN_PROTOCOL}`;
    default:
      return value;
  }
}

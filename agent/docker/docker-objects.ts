/** Networks and containers as Docker's API lists them. Pure; what makes no sense is passed over. */
import { type Ip, type Prefix, parseIp, parsePrefix } from '../../config/address.ts';
import { isJsonObject } from '../../config/go-json.ts';
import type { BridgeNetwork, Container } from './check-facts.ts';

type Json = Readonly<Record<string, unknown>>;

const MTU = 'com.docker.network.driver.mtu';
const BRIDGE = 'com.docker.network.bridge';

/** Of `GET /networks` those of the bridge driver; undefined where it is no list. */
export function bridgeNetworks(answer: unknown): readonly BridgeNetwork[] | undefined {
  if (!Array.isArray(answer)) return undefined;
  return answer
    .filter(isJsonObject)
    .flatMap((network) => (network['Driver'] === 'bridge' ? [bridgeNetwork(network)] : []));
}

function bridgeNetwork(network: Json): BridgeNetwork {
  const options = objectAt(network, 'Options');
  const id = String(network['Id']);
  const mtu = Number(options[MTU] ?? Number.NaN);
  return {
    ...{ name: String(network['Name']), id },
    bridge: String(options[`${BRIDGE}.name`] ?? `br-${id.slice(0, 12)}`),
    subnets: listAt(objectAt(network, 'IPAM'), 'Config').flatMap(subnetOf),
    mtuBytes: mtu > 0 ? mtu : undefined,
    isMasqueraded: options[`${BRIDGE}.enable_ip_masquerade`] !== 'false',
    isInternal: network['Internal'] === true,
    isRouted: options[`${BRIDGE}.gateway_mode_ipv4`] === 'routed',
  };
}

function subnetOf(config: unknown): readonly Prefix[] {
  const subnet = isJsonObject(config) ? parsePrefix(String(config['Subnet'])) : undefined;
  return subnet ? [subnet] : [];
}

/** Of `GET /containers/json`; undefined where it is no list. */
export function runningContainers(
  answer: unknown,
  networks: readonly BridgeNetwork[],
): readonly Container[] | undefined {
  if (!Array.isArray(answer)) return undefined;
  const bridges = new Set(networks.flatMap(({ id, isRouted }) => (isRouted ? [] : [id])));
  return answer.filter(isJsonObject).map((one) => container(one, bridges));
}

function container(one: Json, bridges: ReadonlySet<string>): Container {
  const attached = Object.values(objectAt(objectAt(one, 'NetworkSettings'), 'Networks')).filter(isJsonObject);
  return {
    name: String(listAt(one, 'Names')[0] ?? one['Id']).replace(/^\//, ''),
    ...{ image: String(one['Image']), command: String(one['Command']) },
    addresses: attached.filter((endpoint) => bridges.has(String(endpoint['NetworkID']))).flatMap(addressesOf),
    ports: listAt(one, 'Ports').flatMap(portOf),
    isOnHost: objectAt(one, 'HostConfig')['NetworkMode'] === 'host',
  };
}

function addressesOf(endpoint: Json): readonly Ip[] {
  const texts = [endpoint['IPAddress'], endpoint['GlobalIPv6Address']].map(String);
  return texts.flatMap((text) => parseIp(text) ?? []);
}

function portOf(port: unknown): Container['ports'] {
  if (!isJsonObject(port)) return [];
  const { PrivatePort: inside, PublicPort: outside, Type: protocol } = port;
  if (typeof inside !== 'number' || typeof outside !== 'number' || outside === 0) return [];
  return [{ inside, outside, protocol: String(protocol) }];
}

function objectAt(value: Json, name: string): Json {
  const found = value[name];
  return isJsonObject(found) ? found : {};
}

function listAt(value: Json, name: string): readonly unknown[] {
  const found = value[name];
  return Array.isArray(found) ? found : [];
}

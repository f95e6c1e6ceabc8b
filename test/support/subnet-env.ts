/** The subnet file as its consumers read it. Independent of the agent's own code on purpose. */
export interface SubnetEnv {
  readonly text: string;
  /** `10.5.0.0/16` */
  readonly network: string;
  /** First address of the lease: `10.5.17.1/24`. */
  readonly subnet: string;
  readonly ipv6Subnet: string | undefined;
  readonly mtu: number;
  readonly ipMasq: string | undefined;
}

/** @returns undefined while a line that every consumer needs is missing */
export function parseSubnetEnv(text: string): SubnetEnv | undefined {
  const value = (key: string) => new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1];
  const network = value('FLANNEL_NETWORK');
  const subnet = value('FLANNEL_SUBNET');
  const mtu = Number(value('FLANNEL_MTU'));
  if (network === undefined || subnet === undefined || !(mtu > 0)) return undefined;
  return { text, network, subnet, ipv6Subnet: value('FLANNEL_IPV6_SUBNET'), mtu, ipMasq: value('FLANNEL_IPMASQ') };
}

/** Address `number` of the lease: `10.5.17.1/24`, 2 → `10.5.17.2/24`. The text must end in `.1` or `:1`. */
export function nthAddress(firstAddress: string, number: number): string {
  return firstAddress.replace(/1(?=\/\d+$)/, firstAddress.includes(':') ? number.toString(16) : String(number));
}

/** What tests ask of a packet filter, and what a real flanneld made of it. */
import { readFileSync } from 'node:fs';
import type { FirewallWish } from '../../backends/firewall/wish.ts';
import { prefix } from './addresses.ts';

export const IPV4 = { family: 4, network: prefix('10.5.0.0/16'), subnet: prefix('10.5.17.0/24') } as const;
export const IPV6 = { family: 6, network: prefix('fd00:5::/48'), subnet: prefix('fd00:5:0:17::/64') } as const;

/** What a flanneld with --ip-masq does. */
export const FLANNELS: FirewallWish = {
  families: [IPV4, IPV6],
  masquerade: true,
  randomFully: true,
  forward: true,
  nftables: false,
  docker: undefined,
};

export const DOCKER = { devices: ['flannel.1'], mark: undefined };
export const MARK = { value: 0x1000, mask: 0x1000 };

/** What a real flanneld wrote for FLANNELS. */
export function flannelds(name: string): string {
  return readFileSync(`test/golden/firewall/flanneld-${name}.txt`, 'utf8');
}

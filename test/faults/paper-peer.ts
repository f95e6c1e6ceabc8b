/** A host that exists in etcd alone: its lease comes and goes as a test likes, and an agent programs it as any other. */
import { PREFIX } from '../support/agent.ts';
import { vxlanLease } from '../support/vxlan-lease.ts';

export interface PaperPeer {
  readonly key: string;
  readonly value: string;
  readonly network: string;
  readonly gateway: string;
  readonly ip: string;
  readonly mac: string;
}

export function leaseKey(subnet: string): string {
  return `${PREFIX}/subnets/${subnet.replace('/', '-')}`;
}

/** @param number 100 to 254: below are the subnets that hosts claim */
export function paperPeer(number: number): PaperPeer {
  const network = `10.5.${number}.0/24`;
  const ip = `192.168.77.${number}`;
  const mac = `4e:00:00:00:00:${number.toString(16).padStart(2, '0')}`;
  const gateway = `10.5.${number}.0`;
  return { key: leaseKey(network), value: vxlanLease(ip, mac), network, gateway, ip, mac };
}

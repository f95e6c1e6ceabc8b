/** Whoever may write to etcd must not own the hosts: what flannel lets through, or falls over. */

import { PREFIX } from '../support/agent.ts';
import { vxlanLease } from '../support/vxlan-lease.ts';
import type { Fault } from './fault.ts';
import { leaseKey, type PaperPeer, paperPeer } from './paper-peer.ts';
import type { Scene } from './scene.ts';

const WITHIN_MS = 1_000;
const IP = '192.168.77.251';
const MAC = '4e:00:00:00:00:fb';
const SUBNET = '10.5.251.0/24';
const JUNK = `${PREFIX}/subnets/junk-`;
const JUNK_KEYS = 5_000;
/** What etcd takes in one transaction. */
const AT_ONCE = 128;

interface Entry {
  readonly key: string;
  readonly value: string;
}

/** Nothing of it reaches a kernel, no packet is lost, and good leases are followed as long as it stands. */
function input(name: string, entry: (scene: Scene) => Entry): Fault {
  return {
    ...{ group: 'input', name, withinMs: WITHIN_MS, loses: 0 },
    breaks: async (scene) => {
      await scene.put(entry(scene));
      // What came after it is done: it has been seen.
      await scene.goesOn();
    },
    undo: (scene) => scene.drop(entry(scene)),
  };
}

function lease(subnet: string, publicIp = IP, mac = MAC): Entry {
  return { key: leaseKey(subnet), value: vxlanLease(publicIp, mac) };
}

function under(key: string, value = 'x'): Entry {
  return { key: `${PREFIX}/subnets/${key}`, value };
}

/** In transactions of `etcdctl`: nothing to compare, puts, nothing else. */
async function putJunk({ etcd }: Scene): Promise<void> {
  for (let from = 0; from < JUNK_KEYS; from += AT_ONCE) {
    const count = Math.min(AT_ONCE, JUNK_KEYS - from);
    const puts = Array.from({ length: count }, (_, i) => `put ${JUNK}${from + i} x\n`).join('');
    await etcd.ctl(['txn'], { input: `\n${puts}\n\n` });
  }
}

const RESIDENT = paperPeer(200);

const { value, ...peer } = paperPeer(251);
const DUAL: PaperPeer = {
  ...peer,
  key: `${peer.key}&fd00:5:0:1::-64`,
  value: value.replace('null', '"fd77::fb"').replace('}}', `},"BackendV6Data":{"VNI":1,"VtepMAC":"${MAC}"}}`),
};

export const INPUT: readonly Fault[] = [
  input('a key under subnets/ that is no subnet', () => under('garbage')),
  input('a key further down', () => under('10.5.251.0-24/extra')),
  input('a key with an impossible length', () => under('10.5.251.0-99', vxlanLease(IP, MAC))),
  input('a value that is no JSON', () => ({ ...lease(SUBNET), value: '{"PublicIP":' })),
  input('an empty value', () => ({ ...lease(SUBNET), value: '' })),
  input('a value with wrong types', () => ({ ...lease(SUBNET), value: '{"PublicIP":7,"BackendType":"vxlan"}' })),
  input('backend data of a wrong type', () => ({
    ...lease(SUBNET),
    value: `{"PublicIP":"${IP}","BackendType":"vxlan","BackendData":"x"}`,
  })),
  input('a value of 1 MB', () => ({
    ...lease(SUBNET),
    value: vxlanLease(IP, MAC).replace('}}', `},"x":"${'y'.repeat(1_000_000)}"}`),
  })),
  input('a value nested 10,000 deep', () => ({ ...lease(SUBNET), value: '['.repeat(10_000) + ']'.repeat(10_000) })),
  {
    ...{ group: 'input', name: '5,000 keys that are no subnets', withinMs: 5_000, loses: 0 },
    breaks: putJunk,
    undo: ({ etcd }) => etcd.ctl(['del', '--prefix', JUNK]),
  },
  input('a lease of the default route', () => lease('0.0.0.0/0')),
  input("a lease of the underlay's subnet", () => lease('192.168.77.0/24')),
  input("a lease of etcd's address", ({ etcd }) => lease(`${etcd.member(1).address}/32`)),
  input("a lease of the gateway's address", ({ lab }) => lease(`${lab.gateway}/32`)),
  input('a lease outside the network', () => lease('10.9.1.0/24')),
  input('a lease of the whole network', () => lease('10.5.0.0/16')),
  input('a lease inside our own subnet', ({ subject }) => lease(subject.network.replace('.0/24', '.128/25'))),
  input("a lease inside a peer's subnet", ({ peer }) => lease(peer.network.replace('.0/24', '.128/25'))),
  input('a lease with our own public IP', ({ host }) => lease(SUBNET, host.ip)),
  input('a lease with our own MAC', ({ leaseMac }) => lease(SUBNET, IP, leaseMac)),
  input("a lease with a peer's public IP", ({ peer }) => lease(SUBNET, peer.ip)),
  input("a lease with a peer's MAC", ({ peer }) => lease(SUBNET, IP, peer.mac)),
  input('a lease with a public IP inside itself', () => lease(SUBNET, '10.5.251.7')),
  input('a lease with a multicast public IP', () => lease(SUBNET, '224.0.0.5')),
  input('a lease with a loopback public IP', () => lease(SUBNET, '127.0.0.1')),
  input('a lease with the broadcast address', () => lease(SUBNET, '255.255.255.255')),
  input('a lease with the public IP 0.0.0.0', () => lease(SUBNET, '0.0.0.0')),
  input('a lease with a multicast MAC', () => lease(SUBNET, IP, '01:00:5e:00:00:01')),
  input('a lease with the MAC of all zeros', () => lease(SUBNET, IP, '00:00:00:00:00:00')),
  input('a lease of another backend', () => ({
    ...lease(SUBNET),
    value: `{"PublicIP":"${IP}","PublicIPv6":null,"BackendType":"host-gw"}`,
  })),
  {
    ...input('a lease with an IPv6 half', () => DUAL),
    // Kept out, or followed by its other half: either will do.
    holds: (scene) => scene.isAsBefore(DUAL).catch(() => scene.isAsBefore()),
  },
  {
    ...{ group: 'input', name: "a peer's lease overwritten with nonsense, then put right", withinMs: WITHIN_MS },
    breaks: async (scene) => {
      await scene.put({ ...RESIDENT, value: '{"PublicIP":' });
      await scene.residentReturns();
    },
  },
];

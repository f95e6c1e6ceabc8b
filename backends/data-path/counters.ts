/** What the packet core counts, in the order of `core/counters.ts`; `rx` is what comes from peers. */
export interface Counter {
  readonly name: string;
  readonly help: string;
  /** `drop`: packets that went no further; `filter`: those too, unless the filter only reports. */
  readonly kind: 'traffic' | 'drop' | 'filter';
}

export const COUNTERS = [
  { name: 'tx-packets', kind: 'traffic', help: 'Packets sent to peers.' },
  { name: 'tx-bytes', kind: 'traffic', help: 'Bytes of frames read from the device and sent to peers.' },
  { name: 'tx-messages', kind: 'traffic', help: 'Messages made of the packets sent; one may hold many.' },
  { name: 'tx-unreachables', kind: 'traffic', help: 'ICMP errors made for packets that no peer takes.' },
  { name: 'tx-short', kind: 'drop', help: 'From the device, but no whole packet.' },
  { name: 'tx-offload', kind: 'drop', help: 'From the device, with a virtio header that makes no sense.' },
  { name: 'tx-multicast', kind: 'drop', help: 'To a group or to all: peers are reached one by one only.' },
  { name: 'tx-no-route', kind: 'drop', help: 'To an address in no peer’s subnet.' },
  { name: 'tx-unknown-mac', kind: 'drop', help: 'To a MAC that is no peer’s.' },
  { name: 'tx-ttl', kind: 'drop', help: 'To peers, with no hop left.' },
  { name: 'rx-packets', kind: 'traffic', help: 'Packets received from peers and taken.' },
  { name: 'rx-bytes', kind: 'traffic', help: 'Bytes of frames received from peers and taken.' },
  { name: 'rx-messages', kind: 'traffic', help: 'Messages received; one may hold many datagrams.' },
  { name: 'rx-writes', kind: 'traffic', help: 'Frames for the device; one may hold many packets.' },
  { name: 'rx-truncated', kind: 'drop', help: 'Messages larger than the receive buffer.' },
  { name: 'rx-short', kind: 'drop', help: 'Datagrams that hold no whole header.' },
  { name: 'rx-vxlan-header', kind: 'drop', help: 'VXLAN headers with flags that Linux refuses too.' },
  { name: 'rx-vni', kind: 'drop', help: 'VXLAN frames of another network.' },
  { name: 'rx-header', kind: 'drop', help: 'Inner IP headers of a wrong version or length.' },
  { name: 'rx-length', kind: 'drop', help: 'Inner packets whose length is not what their headers say.' },
  { name: 'rx-fragment', kind: 'drop', help: 'Inner fragments that end beyond the largest packet.' },
  { name: 'rx-ttl', kind: 'drop', help: 'Inner packets with no hop left.' },
  { name: 'rx-checksum', kind: 'drop', help: 'Inner IPv4 headers with a wrong checksum.' },
  { name: 'rx-oversized', kind: 'drop', help: 'Inner packets larger than the device takes.' },
  { name: 'rx-looped', kind: 'drop', help: 'Packets that claim to come from this host.' },
  { name: 'rx-stranger', kind: 'filter', help: 'Packets from an outer address that is no peer’s.' },
  {
    name: 'rx-spoofed',
    kind: 'filter',
    help: 'Packets with an inner source in the networks, but not in the sender’s subnets.',
  },
  {
    name: 'rx-foreign',
    kind: 'filter',
    help: 'Packets with an inner source outside of the networks (with the strict filter).',
  },
  { name: 'rx-ethertype', kind: 'filter', help: 'Frames that are neither IP nor ARP, such as those with a VLAN tag.' },
] as const satisfies readonly Counter[];

export type CounterName = (typeof COUNTERS)[number]['name'];

/** What a data path can do without, each by itself: what the kernel does not know is left out without being told. */
export const FEATURES = {
  'tun-offload': 'the device hands over and takes TCP and UDP of up to 64 KiB at a time',
  'udp-gso': 'many outer datagrams are sent as one message (UDP_SEGMENT)',
  'udp-gro': 'many outer datagrams are received as one message (UDP_GRO)',
  wasm: 'packets are worked on in WebAssembly instead of JavaScript',
  batches: 'many messages are sent and received with one system call',
} as const;

export type Feature = keyof typeof FEATURES;

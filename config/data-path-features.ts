/** What a data path in user space can do without, each by itself. What the kernel does not know is left out anyway. */
export const DATA_PATH_FEATURES = [
  /** The device hands over and takes TCP and UDP of up to 64 KiB at a time. */
  'tun-offload',
  /** Many outer datagrams are sent as one message (UDP_SEGMENT). */
  'udp-gso',
  /** Many outer datagrams are received as one message (UDP_GRO). */
  'udp-gro',
  /** Packets are worked on in WebAssembly instead of JavaScript. */
  'wasm',
  /** Many messages are sent and received with one system call; without it there is none of the three above either. */
  'batches',
] as const;

export type DataPathFeature = (typeof DATA_PATH_FEATURES)[number];

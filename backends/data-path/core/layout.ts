/**
 * Where things lie in the core's memory. Its size is fixed: an address that was once told to the kernel stays right.
 * Most of it is never touched, and takes no room in RAM, where there are few peers.
 *
 *   scratch, counters, lists, samples, ICMP errors     64 KiB
 *   outgoing: messages, control data, iovecs           ~350 KiB
 *   incoming: messages, writes, virtio headers, iovecs ~100 KiB
 *   outgoing: headers of segments                      1 MiB
 *   outgoing: frames as read from the device           448 KiB
 *   outgoing: whom messages are for                    64 KiB
 *   incoming: datagrams as received                    2 MiB
 *   peers' socket addresses                            1 MiB
 *   what belongs to peers (hash table)                 8 MiB
 */

/** For whoever drives the core: poll descriptors and the like. */
export const SCRATCH = 0x0;
export const SCRATCH_BYTES = 0x1000;

/** u64 each, see counters.ts. */
export const COUNTERS_AT = 0x1000;
/** A virtio_net_hdr that says nothing. */
export const ZERO_HEADER = 0x1300;

/** See prefix-lengths.ts. */
export const LENGTHS4 = 0x1400;
export const LENGTHS6 = 0x1800;
export const LENGTH_USES = 0x2400;

/** See address-list.ts. */
export const OWN = 0x2800;
export const NETWORKS = 0x2c00;

/** See samples.ts. */
export const SAMPLES = 0x3000;

/** See unreachable.ts. */
export const REPLIES = 0x4000;
export const REPLY_WRITES = 0x5000;
export const REPLY_IOVS = 0x5100;

/** struct mmsghdr each: one for a frame of SEGMENTS_MAX where nothing can be grouped, and those of a batch before it. */
export const TX_MESSAGES = 0x10000;
export const TX_MESSAGES_MAX = 2304;
export const TX_CONTROLS = 0x34000;
export const TX_IOVS = 0x46000;
export const TX_IOVS_MAX = 8192;
/** One message taken apart again: struct mmsghdr for each of its datagrams. */
export const TX_SPLIT = 0x66000;

export const RX_MESSAGES = 0x67000;
export const RX_MESSAGES_MAX = 32;
export const RX_CONTROLS = 0x68000;
export const RX_NAMES = 0x68400;
export const RX_BUFFER_IOVS = 0x68800;
/** i32 pairs: where an array of iovecs begins, how many they are. */
export const RX_WRITES = 0x69000;
export const RX_WRITES_MAX = 1024;
/** virtio_net_hdr of each write, 16 bytes apart. */
export const RX_HEADERS = 0x6b000;
export const RX_IOVS = 0x70000;
export const RX_IOVS_MAX = 4096;

export const TX_HEADERS = 0x80000;
export const TX_FRAMES = 0x180000;
export const TX_FRAMES_END = 0x1f0000;

/** The socket address of each message, 28 bytes apart. */
export const TX_NAMES = 0x1f0000;

/** 64 KiB each. */
export const RX_BUFFERS = 0x200000;
export const RX_BUFFER_BYTES = 0x10000;

/** struct sockaddr_in or sockaddr_in6 each, 32 bytes apart; the first one is nobody's. */
export const PEERS = 0x400000;
export const PEERS_MAX = 0x8000;

/** See peer-table.ts. */
export const TABLE = 0x500000;
export const TABLE_SLOTS = 0x40000;

export const MEMORY_BYTES = 0xd00000;

/**
 * TUN and TAP devices, linux/if_tun.h: network devices whose other end is a file descriptor. What the host sends into
 * the device is read, what is written comes out of it. Each packet has a header in front that tells of offloads:
 *
 *   struct virtio_net_hdr, in the machine's own byte order
 *   | flags u8 | gso_type u8 | hdr_len u16 | gso_size u16 | csum_start u16 | csum_offset u16 |
 *   0          1             2             4              6                8                 10
 *
 * A device is made persistent: it stays, with its routes, while nobody holds the other end.
 */
import { closeSync, constants, openSync } from 'node:fs';
import type { KernelRefusal } from './kernel.ts';
import { declare, declared, lastError } from './libc.ts';

const CLONE_DEVICE = '/dev/net/tun';

const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const TUNSETOWNER = 0x400454cc;
const TUNSETOFFLOAD = 0x400454d0;
const TUNGETIFF = 0x800454d2;

const IFF_TUN = 0x0001;
const IFF_TAP = 0x0002;
const IFF_PERSIST = 0x0800;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;

const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;

/** struct ifreq: the name, then u16 flags. */
const IFREQ_BYTES = 40;
const IFNAMSIZ = 16;

/** Layer 2: TAP, Ethernet frames. Layer 3: TUN, IP packets. */
export type Layer = 2 | 3;

/** What the device hands over unfinished, and takes. */
export interface TunOffloads {
  /** Checksums left to be computed, TCP segments of up to 64 KiB left to be cut. */
  readonly tcp: boolean;
  /** Likewise UDP (Linux 6.2). */
  readonly udp: boolean;
}

export interface OpenTun {
  /** Non-blocking. */
  readonly fd: number;
  readonly offloads: TunOffloads;
}

interface Ioctl {
  byAddress(fd: number, request: number, argument: Buffer): number;
  byValue(fd: number, request: number, argument: number): number;
}

const nameToIndex = declared<(name: string) => number>(() => declare('unsigned int if_nametoindex(const char *name)'));

const ioctl = declared<Ioctl>(() => ({
  byAddress: declare('int ioctl(int fd, unsigned long request, void *argument)'),
  byValue: declare('int ioctl(int fd, unsigned long request, unsigned long argument)'),
}));

/** What each refusal means to whoever has to mend it. */
const ADVICE: Readonly<Record<string, (name: string) => string>> = {
  ENOENT: () => `there is no ${CLONE_DEVICE}: load the module tun, or give the container the device`,
  ENODEV: () => `${CLONE_DEVICE} leads to no driver: load the module tun (modprobe tun)`,
  ENXIO: () => `${CLONE_DEVICE} leads to no driver: load the module tun (modprobe tun)`,
  EACCES: () => `${CLONE_DEVICE} can't be opened: allow the device (DeviceAllow=/dev/net/tun rw)`,
  EPERM: () => 'CAP_NET_ADMIN is missing, or the device is not allowed (DeviceAllow=/dev/net/tun rw)',
  EBUSY: (name) => `${name} is held by another process: stop it`,
  EINVAL: (name) => `${name} is a device of another kind`,
};

function refusal(errno: string, name: string): KernelRefusal {
  return { errno, detail: ADVICE[errno]?.(name) ?? '' };
}

/**
 * Makes the device `name`, so that it stays; only root and who has CAP_NET_ADMIN may hold its other end. One that is
 * there already, and held by nobody, is taken as it is.
 * @returns undefined where it is done. EBUSY: a process holds it; EINVAL: it is there, of another kind.
 */
export function makeTun(name: string, layer: Layer): KernelRefusal | undefined {
  const attached = attach(name, layer);
  if ('errno' in attached) return attached;
  const { fd } = attached;
  // Without an owner anybody could attach who may open the clone device, which is everybody.
  const isDone = ioctl().byValue(fd, TUNSETOWNER, 0) === 0 && ioctl().byValue(fd, TUNSETPERSIST, 1) === 0;
  const refused = isDone ? undefined : refusal(lastError(), name);
  closeSync(fd);
  return refused;
}

/**
 * Takes the other end of the device, which must be there and be persistent; ours until the descriptor is closed.
 * @param offload whether to ask for what the kernel can leave to us; as much as it knows is taken.
 * @returns ENODEV: there is no such device, EBUSY: a process holds it, EINVAL: it is of another kind.
 */
export function openTun(name: string, layer: Layer, offload: boolean): OpenTun | KernelRefusal {
  const absent: KernelRefusal = { errno: 'ENODEV', detail: `there is no ${name} yet` };
  // The kernel would make what is not there, to be gone again when it is closed.
  if (nameToIndex()(name) === 0) return absent;
  const attached = attach(name, layer);
  if ('errno' in attached) return attached;
  const { fd } = attached;
  // It may have been deleted in between.
  if (tunState(fd)?.isPersistent !== true) {
    closeSync(fd);
    return absent;
  }
  return { fd, offloads: offload ? offloads(fd) : noOffloads(fd) };
}

/** The device at the descriptor's other end; undefined: it was deleted. */
export function tunState(fd: number): { readonly name: string; readonly isPersistent: boolean } | undefined {
  const request = Buffer.alloc(IFREQ_BYTES);
  if (ioctl().byAddress(fd, TUNGETIFF, request) !== 0) return undefined;
  const name = request.toString('latin1', 0, request.indexOf(0));
  return { name, isPersistent: (request.readUInt16LE(IFNAMSIZ) & IFF_PERSIST) !== 0 };
}

function attach(name: string, layer: Layer): { readonly fd: number } | KernelRefusal {
  const opened = openClone(name);
  if ('errno' in opened) return opened;
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(name.slice(0, IFNAMSIZ - 1), 'latin1');
  request.writeUInt16LE((layer === 2 ? IFF_TAP : IFF_TUN) | IFF_NO_PI | IFF_VNET_HDR, IFNAMSIZ);
  if (ioctl().byAddress(opened.fd, TUNSETIFF, request) === 0) return opened;
  const refused = refusal(lastError(), name);
  closeSync(opened.fd);
  return refused;
}

function openClone(name: string): { readonly fd: number } | KernelRefusal {
  try {
    return { fd: openSync(CLONE_DEVICE, constants.O_RDWR | constants.O_NONBLOCK) };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'EIO';
    return refusal(code, name);
  }
}

function offloads(fd: number): TunOffloads {
  const tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  if (setOffload(fd, tcp | TUN_F_USO4 | TUN_F_USO6)) return { tcp: true, udp: true };
  if (setOffload(fd, tcp)) return { tcp: true, udp: false };
  return noOffloads(fd);
}

/** Whoever held it before may have asked for some. */
function noOffloads(fd: number): TunOffloads {
  setOffload(fd, 0);
  return { tcp: false, udp: false };
}

function setOffload(fd: number, flags: number): boolean {
  return ioctl().byValue(fd, TUNSETOFFLOAD, flags) === 0;
}

import type { Log } from '../../config/log.ts';
import type { DeviceTable } from './device-table.ts';
import { echoFilter } from './echo-filter.ts';
import { decodeEvents } from './event-message.ts';
import type { KernelEvent } from './kernel.ts';
import { NetlinkSocket } from './netlink-socket.ts';

/** enum rtnetlink_groups: LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, IPV4_NETCONF, IPV6_NETCONF. */
const GROUPS = [1, 3, 5, 7, 9, 11, 24, 25];
/** NEXTHOP; kernels before 5.3 have none. */
const NEXTHOP_GROUP = 32;
const BUFFER_BYTES = 32 << 20;
const DROP_CHECK_MS = 1000;
/** Fewer events in a row can't have filled the buffer. */
const BURST = 64;

/** Listens to every change of the namespace, but for our own, and notices when it has missed some. */
export class Monitor {
  readonly #socket: NetlinkSocket;
  readonly #devices: DeviceTable;
  readonly #handler: (event: KernelEvent) => void;
  readonly #timer: NodeJS.Timeout;
  #drops = 0;
  #received = 0;
  #burstEnd: NodeJS.Immediate | undefined;

  /** `ownPort`: of the socket by which we make changes. */
  constructor(log: Log, devices: DeviceTable, ownPort: number, handler: (event: KernelEvent) => void) {
    this.#devices = devices;
    this.#handler = handler;
    // Datagrams by their own size: with a fixed room as large as a link's message each event would hold on to that.
    this.#socket = new NetlinkSocket(log, { bufferBytes: BUFFER_BYTES, datagramBytes: 0 });
    this.#socket.listen(
      (message) => {
        this.#received++;
        this.#burstEnd ??= this.#awaitBurstEnd(this.#received);
        for (const event of decodeEvents(message, this.#devices)) handler(event);
      },
      () => handler({ verb: 'lost' }),
    );
    const refused = this.#socket.filter(echoFilter(ownPort));
    if (refused !== undefined)
      log.info('our own changes are heard too: the socket takes no filter', { errno: refused });
    for (const group of GROUPS) if (!this.#socket.join(group)) log.warn('netlink group refused', { group });
    if (!this.#socket.join(NEXTHOP_GROUP)) log.info('this kernel has no nexthop objects');
    this.#timer = setInterval(() => this.#checkDrops(), DROP_CHECK_MS).unref();
  }

  /** Each turn of the loop reads some of a burst; the first turn that reads nothing is its end. */
  #awaitBurstEnd(start: number, before = start): NodeJS.Immediate {
    return setImmediate(() => {
      const more = this.#received !== before;
      this.#burstEnd = more ? this.#awaitBurstEnd(start, this.#received) : undefined;
      if (!more && this.#received - start >= BURST) this.#checkDrops();
    });
  }

  /** A dropped event sets no error on the socket (NETLINK_NO_ENOBUFS): the counter is the only sign. */
  #checkDrops(): void {
    const drops = this.#socket.drops();
    if (drops === this.#drops) return;
    this.#drops = drops;
    this.#handler({ verb: 'lost' });
  }

  close(): void {
    clearInterval(this.#timer);
    clearImmediate(this.#burstEnd);
    this.#socket.close();
  }
}

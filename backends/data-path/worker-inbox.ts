import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { DataPathFeature } from '../../config/data-path-features.ts';
import type { Assignment, FromWorker, PeerChange, ToWorker, WorkerStart } from './assignment.ts';
import { PATH_COUNTERS } from './loop-counts.ts';
import type { PacketCore } from './packet-core.ts';
import { SharedPage } from './shared-page.ts';

/** What the main thread tells the worker: taken in here, put into the core where it belongs there, and answered. */
export class WorkerInbox {
  readonly page: SharedPage;
  readonly core: PacketCore;
  readonly #port: MessagePort;
  readonly #base: bigint;
  #assignment: Assignment | undefined;
  #isTableWhole = false;
  #settings = '';
  #unplaced = { peers: 0, why: '' };

  /** @param base where the core's memory is to be said to be */
  constructor(start: WorkerStart, core: PacketCore, base: bigint) {
    this.page = new SharedPage(PATH_COUNTERS.length, start.page);
    this.core = core;
    this.#port = start.port;
    this.#base = base;
  }

  /**
   * undefined: nothing is to be done yet. Nor is it while only some of the peers are known: the others' packets would be
   * dropped as strangers', and those for them answered with "unreachable". In the kernel they wait.
   */
  get assignment(): Assignment | undefined {
    return this.#isTableWhole ? this.#assignment : undefined;
  }

  say(message: FromWorker): void {
    this.#port.postMessage(message);
  }

  /** Does what there is to be done. @returns false: it is to end */
  readMail(): boolean {
    if (!this.page.takeMail()) return true;
    for (let next = receiveMessageOnPort(this.#port); next; next = receiveMessageOnPort(this.#port)) {
      const message: ToWorker = next.message;
      if (message.kind === 'stop') return false;
      if (message.kind === 'assign') this.#assign(message.assignment);
      else this.#changePeers(message.changes, message.isWhole);
    }
    return true;
  }

  #assign(assignment: Assignment): void {
    const { serial, settings, tun, socket } = assignment;
    const text = JSON.stringify(settings);
    const offloads = {
      grouping: socket?.gso === true,
      mergingTcp: tun?.offloads.tcp === true,
      mergingUdp: tun?.offloads.udp === true,
    };
    // Settings cost a new table: not where only a descriptor is another.
    if (text === this.#settings) this.core.setOffloads(offloads);
    else this.core.configure(settings, this.#base, offloads);
    this.#settings = text;
    this.#assignment = assignment;
    this.say({ kind: 'assigned', serial, core: this.core.kind });
    this.#tellUnplaced();
  }

  #changePeers(changes: PeerChange, isWhole: boolean): void {
    this.#isTableWhole ||= isWhole;
    for (const [key, peer] of changes) {
      if (peer) this.core.setPeer(key, peer);
      else this.core.removePeer(key);
    }
    this.#tellUnplaced();
  }

  #tellUnplaced(): void {
    const refused = this.core.refusedPeers();
    const why = refused.values().next().value ?? '';
    if (refused.size === this.#unplaced.peers && why === this.#unplaced.why) return;
    this.#unplaced = { peers: refused.size, why };
    this.say({ kind: 'unplaced', ...this.#unplaced });
  }

  /** The device is not there any more: nothing crosses until there is another. */
  lose(fd: number, errno: string): void {
    if (this.#assignment?.tun?.fd !== fd) return;
    this.#assignment = { ...this.#assignment, tun: undefined };
    this.say({ kind: 'lost', fd, errno });
  }

  /** It failed where it had been granted. */
  giveUpGrouping(errno: string): void {
    const { tun, socket } = this.#assignment ?? {};
    if (socket === undefined) return;
    const feature: DataPathFeature = 'udp-gso';
    this.core.setOffloads({
      grouping: false,
      mergingTcp: tun?.offloads.tcp === true,
      mergingUdp: tun?.offloads.udp === true,
    });
    this.say({ kind: 'gaveUp', feature, fd: socket.fd, errno });
  }
}

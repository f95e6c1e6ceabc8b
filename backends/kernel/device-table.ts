import type { LinkInfo } from '../state.ts';
import { decodeLink } from './link-message.ts';
import type { Message } from './message.ts';

/** IFLA_INFO_KIND of what we make. */
const OVERLAYS = new Set(['vxlan', 'tun']);

/** Names and indexes of the devices, as last heard: the kernel's messages speak of indexes only. */
export class DeviceTable {
  readonly #names = new Map<number, string>();
  readonly #indexes = new Map<string, number>();
  readonly #overlays = new Set<number>();
  /** Indexes of devices that we deleted: until the kernel has told that they are gone, news of them are old. */
  readonly #buried = new Set<number>();
  #missed = false;

  /** A method bound to the table, to be handed to decoders. A miss is remembered. */
  readonly nameOf = (index: number): string | undefined => {
    const name = this.#names.get(index);
    if (name === undefined && index > 0) this.#missed = true;
    return name;
  };

  /** As `nameOf`, but a miss is nothing. */
  peek(index: number): string | undefined {
    return this.#names.get(index);
  }

  indexOf(name: string): number | undefined {
    return this.#indexes.get(name);
  }

  /** Whether it may be a device such as ours: a vxlan, or a tun or tap. */
  isOverlay(index: number): boolean {
    return this.#overlays.has(index);
  }

  /** Whether `nameOf` has been asked in vain since this was last called. */
  takeMissed(): boolean {
    const missed = this.#missed;
    this.#missed = false;
    return missed;
  }

  /**
   * The device exists under that name. Returns the name it had until now, where that was another. Where a younger device
   * is known to have the name, one of the two is old news: it is unknown then, and has to be read.
   */
  learn(index: number, name: string, type: string): string | undefined {
    if (this.#buried.has(index)) return undefined;
    const before = this.#names.get(index);
    if (before !== undefined && before !== name) this.forget(before);
    const isDoubtful = (this.#indexes.get(name) ?? 0) > index;
    this.forget(name);
    if (isDoubtful) return before === name ? undefined : before;
    this.#names.set(index, name);
    this.#indexes.set(name, index);
    if (OVERLAYS.has(type)) this.#overlays.add(index);
    return before === name ? undefined : before;
  }

  forget(name: string): void {
    const index = this.#indexes.get(name);
    if (index === undefined) return;
    this.#indexes.delete(name);
    this.#names.delete(index);
    this.#overlays.delete(index);
  }

  /** We delete the device: what is yet to be heard of it came before. */
  bury(name: string): void {
    const index = this.#indexes.get(name);
    if (index !== undefined) this.#buried.add(index);
    this.forget(name);
  }

  /** The kernel told that the device is gone: nothing older is to come. */
  gone(index: number, name: string): void {
    this.#buried.delete(index);
    // Another one may have the name by now.
    if (this.#indexes.get(name) === index) this.forget(name);
  }

  /** Takes the place of everything with the devices of a whole dump. */
  replace(dump: readonly Message[]): LinkInfo[] {
    this.#names.clear();
    this.#indexes.clear();
    this.#overlays.clear();
    // The first pass learns the names; a vxlan's lower device may come behind it.
    for (const link of decodeAll(dump, () => undefined)) {
      this.#buried.delete(link.index);
      this.learn(link.index, link.name, link.type);
    }
    return decodeAll(dump, this.nameOf);
  }
}

function decodeAll(dump: readonly Message[], nameOf: (index: number) => string | undefined): LinkInfo[] {
  return dump.flatMap((message) => decodeLink(message, nameOf) ?? []);
}

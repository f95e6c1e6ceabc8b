import type { Ip } from '../config/address.ts';
import type { Kernel, RouteLookup } from './kernel/kernel.ts';

/** Which addresses are neighbours on the underlay: the kernel would send to them by that device, without a gateway. */
export class OnLink {
  readonly #kernel: Kernel;
  /** Name of the external interface; what was looked up by another stays until it is looked up again. */
  underlay: string;
  #neighbours = new Set<Ip>();

  constructor(kernel: Kernel, underlay: string) {
    this.#kernel = kernel;
    this.underlay = underlay;
  }

  /** As last looked up; false for what never was. */
  readonly has = (ip: Ip): boolean => this.#neighbours.has(ip);

  /** Looks some up; what is known of others stays. */
  async lookUp(ips: ReadonlySet<Ip>): Promise<void> {
    const neighbours = await this.#neighboursAmong(ips);
    for (const ip of ips) this.#neighbours.delete(ip);
    for (const ip of neighbours) this.#neighbours.add(ip);
  }

  /** Looks all of them up and forgets the rest. @returns those whose answer is another than before. */
  async lookUpAll(ips: ReadonlySet<Ip>): Promise<ReadonlySet<Ip>> {
    const before = this.#neighbours;
    this.#neighbours = await this.#neighboursAmong(ips);
    return new Set([...ips].filter((ip) => before.has(ip) !== this.#neighbours.has(ip)));
  }

  async #neighboursAmong(ips: ReadonlySet<Ip>): Promise<Set<Ip>> {
    const asked = [...ips];
    const answers = asked.length === 0 ? [] : await this.#kernel.lookup(asked);
    return new Set(asked.filter((_, place) => this.#isDirect(answers[place])));
  }

  #isDirect(answer: RouteLookup | undefined): boolean {
    return answer?.dev === this.underlay && answer.gateway === undefined;
  }
}

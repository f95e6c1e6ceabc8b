/** Whether packets of the overlay leave a host as they are, not in a tunnel. */
import { Capture } from './capture.ts';
import type { Host } from './host.ts';
import type { Lab } from './hosts.ts';

const OVERLAY = '10.5.0.0/16';

export class LeakWatch {
  readonly #capture: Capture;

  private constructor(capture: Capture) {
    this.#capture = capture;
  }

  /** Of packets from or to the cluster's network on the host's cable. Needs tcpdump. */
  static async start(lab: Lab, host: Host): Promise<LeakWatch> {
    return new LeakWatch(await Capture.start(lab, host, `net ${OVERLAY}`));
  }

  /** Those that left so, as tcpdump prints them. */
  async stop(): Promise<readonly string[]> {
    await this.#capture.stop();
    return await this.#capture.packets();
  }
}

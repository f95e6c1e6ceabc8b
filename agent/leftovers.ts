import { clearPeerFilters } from '../backends/firewall/clear-peer-filters.ts';
import { HostPrograms } from '../backends/firewall/programs.ts';
import type { Kernel } from '../backends/kernel/kernel.ts';
import type { Prefix } from '../config/address.ts';
import type { Log } from '../config/log.ts';
import { clearDevices, type Made } from './withdrawal.ts';

/** Devices and networks that earlier runs made for another network config. */
export class Leftovers {
  #made: Made;

  constructor(made: Made) {
    this.#made = made;
  }

  get made(): Made {
    return this.#made;
  }

  /**
   * Takes the devices, and what is on them, out of the kernel.
   * @param networks all whose routes are ours.
   * @returns whether nothing is left; what stays is for `tartan down`.
   */
  async sweep(kernel: Kernel, networks: readonly Prefix[], log: Log): Promise<boolean> {
    const { macs } = this.#made;
    const devices = [...macs.keys()];
    try {
      if (devices.length > 0) {
        const done = await clearDevices(kernel, { macs, networks });
        await clearPeerFilters(new HostPrograms(), devices);
        log.info('removed the devices of an earlier network config', { devices, kernelObjects: done.length });
      }
    } catch (error) {
      log.warn('the devices of an earlier network config could not be removed; see tartan down', { devices, error });
      return false;
    }
    this.#made = { macs: new Map(), networks: [] };
    return true;
  }
}

/**
 * Keeps settings of the kernel as they have to be, as the reconciler keeps objects: an event only says that something
 * is to be looked at; what others keep changing is fought over more and more slowly, and named.
 *
 *   an event about the setting, the resync ──► read ──► as wanted
 *                                                └────► written, or waiting: refused, or fought over
 */
import { type Clock, jittered } from '../config/clock.ts';
import type { Log, LogFields } from '../config/log.ts';
import { Wakeup } from '../config/wakeup.ts';
import type { KernelEvent } from './kernel/kernel.ts';
import { readSysctl, type SysctlOutcome, setSysctl, sysctlName } from './kernel/sysctl.ts';
import { type Trouble, Troubles } from './trouble.ts';

export interface Sysctl {
  /** In path form: `net/ipv4/ip_forward`. */
  readonly name: string;
  readonly value: string;
  /** The host's own, not a device's of ours: what it was is to be written down before it is changed. */
  readonly isHosts: boolean;
}

export interface SysctlFiles {
  read(name: string): string | undefined;
  write(name: string, value: string): SysctlOutcome;
}

export interface SysctlsOptions {
  readonly wanted: readonly Sysctl[];
  /** Names of our devices. */
  readonly devices: readonly string[];
  readonly resyncSeconds: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Called with what is about to be changed, before it is. */
  readonly beforeChange: (sysctl: Sysctl, found: string) => Promise<void>;
  readonly files?: SysctlFiles;
}

export class Sysctls {
  readonly #options: SysctlsOptions;
  readonly #files: SysctlFiles;
  readonly #troubles: Troubles;
  readonly #doorbell = new Wakeup();
  /** Those that have been as wanted: whoever changes them is somebody else. */
  readonly #settled = new Set<string>();

  constructor(options: SysctlsOptions) {
    this.#options = options;
    this.#files = options.files ?? { read: readSysctl, write: setSysctl };
    this.#troubles = new Troubles(options.clock);
  }

  /** Looks again soon where the event casts doubt on a setting. */
  hear(event: KernelEvent): void {
    if (isAboutSysctls(event, this.#options.devices)) this.#doorbell.ring();
  }

  /** What could not be put right, or is fought over. */
  troubles(): (Trouble & { readonly object: string })[] {
    return this.#troubles.list();
  }

  /** Puts right what is not as wanted and need not wait. */
  async look(): Promise<void> {
    for (const sysctl of this.#options.wanted) await this.#keep(sysctl);
  }

  /** Runs until the signal is aborted, then rejects with its reason. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock, resyncSeconds } = this.#options;
    for (;;) {
      const wait = Math.min(jittered(clock, resyncSeconds * 1000), this.#troubles.nextMs());
      await this.#doorbell.wait(wait, clock, signal);
      await this.look();
    }
  }

  /** A setting that is not there is nobody's fault: a kernel without IPv6, a device that is about to be made anew. */
  async #keep(sysctl: Sysctl): Promise<void> {
    const { name, value } = sysctl;
    const found = this.#files.read(name);
    if (found === undefined || found === value) {
      this.#troubles.settled(keyOf(sysctl));
      if (found === value) this.#settled.add(name);
      return;
    }
    if (this.#troubles.isWaiting(keyOf(sysctl)) || !this.#mayWrite(sysctl, found)) return;
    await this.#options.beforeChange(sysctl, found);
    this.#write(sysctl, found);
  }

  #mayWrite(sysctl: Sysctl, found: string): boolean {
    const key = keyOf(sysctl);
    if (!this.#settled.has(sysctl.name)) return true;
    if (this.#troubles.isRefused(key) || this.#troubles.mayRepair(key, `was ${found}`)) return true;
    const fields = { sysctl: sysctlName(sysctl.name), found, wanted: sysctl.value };
    const level = this.#troubles.isNewFight(key) ? 'warn' : 'debug';
    this.#options.log[level]('somebody keeps changing a sysctl: waiting before putting it right', fields);
    return false;
  }

  #write(sysctl: Sysctl, was: string): void {
    const { name, value } = sysctl;
    const key = keyOf(sysctl);
    const fields = { sysctl: sysctlName(name), was, now: value };
    const outcome = this.#files.write(name, value);
    if (typeof outcome === 'string') {
      this.#troubles.settled(key);
      this.#tell(sysctl, fields);
      this.#settled.add(name);
      return;
    }
    const level = this.#troubles.isRefused(key) ? 'debug' : 'error';
    this.#troubles.refused(new Map([[key, { errno: outcome.failed, detail: '' }]]));
    this.#options.log[level]('a sysctl could not be set: trying again', { ...fields, error: outcome.failed });
  }

  #tell(sysctl: Sysctl, fields: LogFields): void {
    const { log } = this.#options;
    if (!this.#settled.has(sysctl.name)) log.info('set a sysctl', fields);
    else if (this.#troubles.isFought(keyOf(sysctl))) log.debug('put a sysctl right', fields);
    else log.warn('somebody changed a sysctl: put it right', fields);
  }
}

function keyOf({ name }: Sysctl): string {
  return `sysctl ${sysctlName(name)}`;
}

/** Of some switches the kernel tells (netconf); a device that changes may have lost all of its own. */
function isAboutSysctls(event: KernelEvent, devices: readonly string[]): boolean {
  if (event.verb === 'lost') return true;
  if ('sysctlsOf' in event) return event.sysctlsOf === 'all' || devices.includes(event.sysctlsOf);
  if ('link' in event) return devices.includes(event.link);
  return 'address' in event && devices.includes(event.address.dev);
}

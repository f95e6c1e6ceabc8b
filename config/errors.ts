/**
 * Every way in which tartan can fail, by code. `exit` is the process's exit status where the failure ends it;
 * `meaning` is the line that the documentation shows.
 */
export const ERRORS = {
  INTERNAL: { exit: 1, meaning: 'A fault in tartan itself; the message has the details to report.' },
  USAGE: { exit: 2, meaning: 'A flag, an environment variable or an argument is wrong; every problem is listed.' },
  CONFIG_INVALID: { exit: 3, meaning: 'The network config in etcd (or the one to be stored) breaks a rule.' },
  CONFIG_ORPHANS: { exit: 3, meaning: 'The new network config would orphan live leases; `--force` overrides.' },
  CONFIG_MISSING: { exit: 3, meaning: 'There is no network config under the prefix.' },
  INTERFACE_NOT_FOUND: { exit: 4, meaning: 'No external interface matches what was asked for.' },
  KERNEL: { exit: 5, meaning: 'The kernel refused an operation that the agent cannot do without.' },
  PERMISSION: { exit: 5, meaning: 'A capability is missing (NET_ADMIN), or a file cannot be read or written.' },
  FIREWALL: { exit: 5, meaning: "Firewall rules that are needed can't be made, or don't stay." },
  ETCD_UNAVAILABLE: { exit: 6, meaning: 'etcd did not answer in time.' },
  ETCD_REFUSED: { exit: 6, meaning: 'etcd refused: wrong user, password, certificate or permission.' },
  LEASE_LOST: { exit: 7, meaning: "This host's lease was taken by another host." },
  LEASE_TAKEN_OVER: { exit: 8, meaning: 'A flanneld on this host took the lease over; tartan stepped aside.' },
  ADDRESS_IN_USE: { exit: 9, meaning: 'Another live host holds the lease of this public IP or node name.' },
  RANGE_EXHAUSTED: { exit: 10, meaning: 'Every subnet of the range is leased.' },
  ALREADY_RUNNING: { exit: 11, meaning: 'Another agent works on this state directory.' },
  NOT_RUNNING: { exit: 12, meaning: 'No agent answers on the status socket.' },
  NOT_READY: { exit: 13, meaning: 'The agent is not ready, or not in step (`wait` timed out, `status --check`).' },
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** The one error class. Callers branch on `code`; `message` is for people and says what to do. */
export class TartanError extends Error {
  override readonly name = 'TartanError';
  readonly code: ErrorCode;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; data?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.data = options.data ?? {};
  }

  get exitStatus(): number {
    return ERRORS[this.code].exit;
  }
}

/** Whatever was thrown, as an Error. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

import { TartanError } from '../config/errors.ts';

/** How one call to one endpoint failed. */
export interface CallFailure {
  /** gRPC status code (grpc/doc/statuscodes.md). */
  readonly status: number;
  /** The text that came with it: etcd's own begins with `etcdserver:`, anything else is the connection's. */
  readonly details: string;
  /** False where the request surely never reached etcd, so that another endpoint may be asked. */
  readonly sent: boolean;
}

/** Why etcd refused, for callers that must tell the cases apart (`data.reason` of ETCD_REFUSED). */
export type RefusalReason =
  | 'permission'
  | 'auth'
  | 'tls'
  | 'lease'
  | 'ttl'
  | 'space'
  | 'history'
  | 'invalid'
  | 'closed';

export const STATUS = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  OUT_OF_RANGE: 11,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

const STALE_TOKEN = ['invalid auth token', 'user name is empty', 'revision of auth store is old'];
const WRONG_PASSWORD = 'authentication failed';
const NO_AUTH = 'authentication is not enabled';
const TLS_TROUBLE = /certificate|self[- ]signed|\bssl\b|\btls|wrong version number|handshake|altname|eproto/i;

/** What differs from one time to the next, so that the same trouble has the same text: times, thread ids, durations. */
const CHANGING =
  / *\(\d{4}-\d\d-\d\dT[\d:.]+Z\)|\b[0-9A-F]{8,16}:(?=error:)|\.? *Resolution note: *$|(?<=Deadline exceeded) after .*$/g;

const ADVICE: Readonly<Record<RefusalReason, string>> = {
  permission: 'the user may not read or write these keys; grant its role readwrite on the prefix',
  auth: 'wrong user name or password, or none given where etcd asks for one',
  tls: "the TLS connection failed; check the CA, the client certificate and key, and the name in the server's certificate",
  lease: 'the etcd lease is gone; it ran out or was revoked',
  ttl: 'etcd grants another TTL than was asked for; it has a lower limit of about 1.5 election timeouts',
  history: 'the revision is compacted away, or not reached yet',
  space: 'its database is full; compact and defragment it, then disarm the alarm',
  invalid: 'it does not accept the request',
  closed: 'the connection was closed by this process',
};

/** Whatever a gRPC call or stream reported, as a failure. */
export function toFailure(thrown: unknown, sent: boolean): CallFailure {
  if (!(thrown instanceof Error)) return { status: STATUS.UNKNOWN, details: String(thrown), sent };
  const status = 'code' in thrown && typeof thrown.code === 'number' ? thrown.code : STATUS.UNKNOWN;
  const details = 'details' in thrown && typeof thrown.details === 'string' ? thrown.details : thrown.message;
  return { status, details: details.replace(CHANGING, '').replace(/\s+/g, ' ').trim(), sent };
}

/** The token ran out, or authentication was switched on since: log in again. The request was not executed. */
export function isStaleToken(failure: CallFailure): boolean {
  return STALE_TOKEN.some((text) => failure.details.includes(text));
}

/** etcd has no authentication switched on: go on without a token, as flannel's client does. */
export function isAuthDisabled(failure: CallFailure): boolean {
  return failure.details.includes(NO_AUTH);
}

/** The revision asked for is gone (compacted) or not there yet (another store). */
export function isRevisionGone(failure: CallFailure): boolean {
  return failure.status === STATUS.OUT_OF_RANGE;
}

/** It was sent, and its time was over before all of the answer was there. */
export function isOvertime({ status, sent }: CallFailure): boolean {
  return status === STATUS.DEADLINE_EXCEEDED && sent;
}

/** The answer says nothing about the request itself: another endpoint may do better. */
export function isTransient(failure: CallFailure): boolean {
  return failure.status === STATUS.UNAVAILABLE || failure.status === STATUS.DEADLINE_EXCEEDED;
}

/** etcd itself said so; nothing of the request is still on its way. */
export function isAnswer(failure: CallFailure): boolean {
  return failure.details.startsWith('etcdserver:');
}

/** etcd turned the call down before it did anything: no leader on that member. */
export function isUnexecuted(failure: CallFailure): boolean {
  return !failure.sent || failure.details.includes('etcdserver: no leader');
}

function refusalOf(failure: CallFailure): RefusalReason | undefined {
  const { status, details } = failure;
  if (isStaleToken(failure) || details.includes(WRONG_PASSWORD) || status === STATUS.UNAUTHENTICATED) return 'auth';
  if (status === STATUS.PERMISSION_DENIED || details.includes('permission denied')) return 'permission';
  if (details.includes('requested lease not found')) return 'lease';
  if (isRevisionGone(failure)) return 'history';
  if (details.includes('database space exceeded')) return 'space';
  if (status === STATUS.UNAVAILABLE && !details.includes('etcdserver:') && TLS_TROUBLE.test(details)) return 'tls';
  const invalid: readonly number[] = [STATUS.INVALID_ARGUMENT, STATUS.FAILED_PRECONDITION, STATUS.NOT_FOUND];
  return invalid.includes(status) ? 'invalid' : undefined;
}

/** ETCD_REFUSED with `data.reason`. */
export function refused(reason: RefusalReason, urls: readonly string[], details: string): TartanError {
  const message = `etcd at ${urls.join(', ')} refused: ${ADVICE[reason]} (${details})`;
  return new TartanError('ETCD_REFUSED', message, { data: { reason, endpoints: urls, details } });
}

/** ETCD_UNAVAILABLE. */
export function unavailable(urls: readonly string[], details: string): TartanError {
  const message = `etcd at ${urls.join(', ')} did not answer: check that it runs and can be reached (${details})`;
  return new TartanError('ETCD_UNAVAILABLE', message, { data: { endpoints: urls, details } });
}

/** The error that the rest of the program sees. `urls` carry no credentials. */
export function etcdError(failure: CallFailure, urls: readonly string[]): TartanError {
  const reason = refusalOf(failure);
  return reason === undefined ? unavailable(urls, failure.details) : refused(reason, urls, failure.details);
}

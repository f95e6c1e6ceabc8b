/** What main thread and worker say to each other. Descriptors belong to the process: they are told by number. */
import type { MessagePort } from 'node:worker_threads';
import type { DataPathFeature } from '../../config/data-path-features.ts';
import type { OpenSocket } from '../kernel/packet-calls.ts';
import type { OpenTun } from '../kernel/tun.ts';
import type { Refusals } from './loop-counts.ts';
import type { Stranger } from './packet-core.ts';
import type { PathPeer } from './path-peer.ts';
import type { PathSettings } from './path-settings.ts';

/** What the worker is to do from now on. The descriptors stay the main thread's, which closes none of them meanwhile. */
export interface Assignment {
  /** Rising. */
  readonly serial: number;
  readonly settings: PathSettings;
  /** undefined: there is none at the moment. */
  readonly tun: OpenTun | undefined;
  readonly socket: OpenSocket | undefined;
}

export type PeerChange = readonly (readonly [key: string, peer: PathPeer | undefined])[];

/** What a worker is started with. */
export interface WorkerStart {
  readonly port: MessagePort;
  /** Rung with every message. */
  readonly doorbell: number;
  readonly page: SharedArrayBuffer;
  /** What it may use, if it can. */
  readonly features: ReadonlySet<DataPathFeature>;
}

export type ToWorker =
  | { readonly kind: 'assign'; readonly assignment: Assignment }
  /** `isWhole`: with these it has been told of every peer that is known. */
  | { readonly kind: 'peers'; readonly changes: PeerChange; readonly isWhole: boolean }
  | { readonly kind: 'stop' };

export type FromWorker =
  /** It uses nothing any more that an earlier assignment named. */
  | { readonly kind: 'assigned'; readonly serial: number; readonly core: 'wasm' | 'js' }
  /** The descriptor leads nowhere any more. */
  | { readonly kind: 'lost'; readonly fd: number; readonly errno: string }
  /** It failed where it had been granted; not used on this socket or device any more. */
  | { readonly kind: 'gaveUp'; readonly feature: DataPathFeature; readonly fd: number; readonly errno: string }
  | { readonly kind: 'strangers'; readonly seen: readonly Stranger[] }
  | { readonly kind: 'refusals'; readonly refusals: Refusals }
  /** How many peers are left out now, as the core's tables have no room for them, and why; 0: none any more. */
  | { readonly kind: 'unplaced'; readonly peers: number; readonly why: string };

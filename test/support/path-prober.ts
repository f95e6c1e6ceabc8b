/** The path probe as a process on a lab's host, and what it finds. */
import type { PathProbePeer, PathProbeSettings, PathProbeState, PathResult } from '../../backends/vxlan/path-probe.ts';
import { eventually, type Patience } from './eventually.ts';
import type { Host } from './host.ts';
import type { LabProcess } from './process.ts';

const PRODUCT = new URL('../../', import.meta.url);

/** Prints its state a few times a second. Through a socket of its own where the kernel is not to have the VTEP. */
const PROBER = `import { createSocket } from 'node:dgram';
import { systemClock } from '${new URL('agent/system-clock.js', PRODUCT)}';
import { PathProbe } from '${new URL('backends/vxlan/path-probe.js', PRODUCT)}';
const { settings, peers, intervalSeconds, bySocket, speed } = JSON.parse(process.argv[1]);
const clock = {
  ...systemClock,
  monotonic: () => systemClock.monotonic() * speed,
  sleep: (ms, signal) => systemClock.sleep(ms / speed, signal),
};
const say = (word) => (message, fields) => console.log(JSON.stringify({ log: [word, message, fields] }));
const log = { debug() {}, info: say('info'), warn: say('warn'), error: say('error') };
const socket = bySocket ? createSocket(settings.local.includes(':') ? 'udp6' : 'udp4') : undefined;
const send = socket && ((datagram, endpoint) => { socket.send(datagram, settings.port, endpoint); return true; });
const probe = new PathProbe({ settings, clock, log, intervalSeconds, send });
probe.setPeers(new Map(peers));
setInterval(() => {
  const { peers, ...rest } = probe.state();
  console.log(JSON.stringify({ state: { ...rest, peers: [...peers] } }));
}, 100);
await probe.run(new AbortController().signal);`;

export interface ProberOptions {
  readonly settings: PathProbeSettings;
  readonly peers: readonly (readonly [key: string, peer: PathProbePeer])[];
  /** By the prober's time; default 0.5: as often as it goes. */
  readonly intervalSeconds?: number;
  /** How much faster the prober's time passes; default 5. Answers are there before a send returns. */
  readonly speed?: number;
  /** Small packets go by a socket of somebody else's. */
  readonly bySocket?: boolean;
  /** Put before the command. */
  readonly wrapper?: readonly string[];
}

export class PathProber {
  readonly process: LabProcess;

  constructor(host: Host, { wrapper = [], intervalSeconds = 0.5, speed = 5, ...options }: ProberOptions) {
    const spec = JSON.stringify({ ...options, intervalSeconds, speed });
    const [command = '', ...args] = [...wrapper, process.execPath, '--input-type=module', '-e', PROBER, spec];
    this.process = host.spawn(command, args);
  }

  state(): PathProbeState | undefined {
    const last = this.process.lines.findLast((line) => line.startsWith('{"state"'));
    if (last === undefined) return undefined;
    const { state } = JSON.parse(last) as { state: Omit<PathProbeState, 'peers'> & { peers: [string, PathResult][] } };
    return { ...state, peers: new Map(state.peers) };
  }

  get logged(): readonly string[] {
    return this.process.lines.filter((line) => line.startsWith('{"log"'));
  }

  /** Waits until `holds` of what is known of that peer. */
  async sees(
    key: string,
    what: string,
    holds: (result: PathResult) => boolean,
    patience: Patience = {},
  ): Promise<PathResult> {
    const look = (): PathResult | undefined => {
      const result = this.state()?.peers.get(key);
      return result && holds(result) ? result : undefined;
    };
    return await eventually(what, look, { timeoutMs: 60_000, context: () => this.process.tail(4), ...patience });
  }
}

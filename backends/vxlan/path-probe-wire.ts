/**
 * How a probe gets out and its answer in:
 *
 *   large  ─► node:dgram, any port, "don't fragment" ──► peer's VXLAN port ─┐
 *   small  ─► the same; or `send`, the user-space VTEP's own socket ────────┤
 *   answer ◄─ ICMP socket ◄── kernel ◄── our VXLAN device (or tap) ◄────────┘ the peer's kernel
 */
import { createSocket, type Socket } from 'node:dgram';
import { closeSync } from 'node:fs';
import { familyOf, type Ip } from '../../config/address.ts';
import { toError } from '../../config/errors.ts';
import type { KernelRefusal } from '../kernel/kernel.ts';
import { EchoSocket, openUnfragmentedSocket, wallNanoseconds } from '../kernel/probe-sockets.ts';
import { decodeEcho, ICMP } from './echo-message.ts';
import { decodeIp } from './ip-header.ts';
import type { Heard } from './path-probe-rounds.ts';

/** Hands a datagram to a user-space VTEP's own socket. @returns the error's name (`ENETUNREACH`) where it was not taken */
export type SendDatagram = (datagram: Buffer, endpoint: Ip) => string | undefined;

export interface ProbeWireSettings {
  readonly local: Ip;
  readonly port: number;
  readonly address: Ip;
  /** 16 bits, in all our echoes. */
  readonly id: number;
  /** Left out: the kernel has the VTEP. */
  readonly send?: SendDatagram | undefined;
}

export interface ProbeWire {
  /**
   * @param refused told why the kernel did not take it (`EMSGSIZE`), if it did not; maybe later
   * @returns wall clock, ns: when it was sent; undefined: not known well enough to measure by
   */
  small(datagram: Buffer, endpoint: Ip, refused: (errno: string) => void): bigint | undefined;
  large(datagram: Buffer, endpoint: Ip, refused: (errno: string) => void): bigint | undefined;
  /** An echo that goes the way of the host's own packets. */
  introduce(echo: Buffer, to: Ip): void;
  /** What has come since: answers to echoes of our id. */
  heard(): Iterable<Heard>;
  close(): void;
}

/** More are not read at once: whoever floods us with answers costs no more than that. */
const MOST_AT_ONCE = 256;
/** How far a round trip may be wrong for it, 0.5 ms. */
const LONGEST_SEND_NS = 500_000n;

export function openProbeWire(settings: ProbeWireSettings): ProbeWire | KernelRefusal {
  const echoes = EchoSocket.open(settings.address, settings.id);
  if ('errno' in echoes) return echoes;
  const fd = openUnfragmentedSocket(settings.local);
  const socket = typeof fd === 'number' ? datagramSocket(fd, settings.local) : fd;
  if (!('errno' in socket)) return new DatagramWire(settings, echoes, socket);
  echoes.close();
  return socket;
}

/** Addresses are looked up at once: what is sent is sent when `send` returns. */
function datagramSocket(fd: number, local: Ip): Socket | KernelRefusal {
  const family = familyOf(local);
  const socket = createSocket({
    type: family === 4 ? 'udp4' : 'udp6',
    lookup: (address, _options, found) => found(null, address, family),
  });
  // What fails is told to the sender.
  socket.on('error', () => undefined);
  try {
    socket.bind({ fd });
  } catch (thrown) {
    closeSync(fd);
    return { errno: codeOf(toError(thrown)), detail: 'dgram' };
  }
  socket.unref();
  return socket;
}

class DatagramWire implements ProbeWire {
  readonly #settings: ProbeWireSettings;
  readonly #echoes: EchoSocket;
  readonly #socket: Socket;

  constructor(settings: ProbeWireSettings, echoes: EchoSocket, socket: Socket) {
    this.#settings = settings;
    this.#echoes = echoes;
    this.#socket = socket;
  }

  small(datagram: Buffer, endpoint: Ip, refused: (errno: string) => void): bigint | undefined {
    const { send } = this.#settings;
    if (send === undefined) return this.large(datagram, endpoint, refused);
    return timed(() => {
      const errno = send(datagram, endpoint);
      if (errno !== undefined) refused(errno);
    });
  }

  large(datagram: Buffer, endpoint: Ip, refused: (errno: string) => void): bigint | undefined {
    return timed(() =>
      this.#socket.send(datagram, this.#settings.port, endpoint, (error) => {
        if (error) refused(codeOf(error));
      }),
    );
  }

  introduce(echo: Buffer, to: Ip): void {
    this.#echoes.send(echo, to);
  }

  *heard(): Iterable<Heard> {
    for (let count = 0; count < MOST_AT_ONCE; count += 1) {
      const answer = this.#echoes.receive();
      if (answer === undefined) return;
      const { source, bytes, at } = answer;
      const message = familyOf(source) === 4 ? messageIn(bytes) : bytes;
      const echo = message && decodeEcho(message, { source, destination: this.#settings.address });
      if (echo?.ok && echo.kind === 'reply' && echo.id === this.#settings.id) {
        yield { source, sequence: echo.sequence, payload: echo.payload, at };
      }
    }
  }

  close(): void {
    this.#echoes.close();
    this.#socket.close();
  }
}

/** When it was sent, unless that took long: the first goes through code that is not compiled yet. */
function timed(send: () => void): bigint | undefined {
  const at = wallNanoseconds();
  send();
  return wallNanoseconds() - at <= LONGEST_SEND_NS ? at : undefined;
}

function messageIn(packet: Buffer): Buffer | undefined {
  const decoded = decodeIp(packet);
  return decoded.ok && decoded.protocol === ICMP[4] ? decoded.payload : undefined;
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}

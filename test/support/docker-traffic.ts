/** Which packets cross between two hosts with Docker, and a machine outside that knows nothing of the overlay. */
import { isDeepStrictEqual } from 'node:util';
import { BODY_BYTES, PAGE, server, writePage } from './docker-image.ts';
import type { Seen, Traffic } from './docker-matrix.ts';
import { eventually } from './eventually.ts';
import type { Container, Host } from './host.ts';
import type { Place } from './namespace.ts';

/** A host that serves the page on port 8000, and a container of it that does on port 80, published as 8080. */
export interface Server {
  readonly host: Host;
  readonly web: Container;
  /** The address of its overlay device. */
  readonly vtep: string;
  readonly mtu: number;
}

export type Sites = { readonly servers: readonly [Server, Server]; readonly outside: Host };

const ON_HOST = 8000;
const PUBLISHED = 8080;
export const PUBLISH = ['--publish', `${PUBLISHED}:80`] as const;

export function servePage(host: Host): void {
  writePage(host.path('/run/www'));
  const [command = '', ...args] = server(ON_HOST, '/run/www');
  host.spawn(command, args);
}

/** Waits until every way is as it should be, in both directions. @returns how it is then, or was last */
export async function trafficBecomes(sites: Sites, wanted: Traffic): Promise<Traffic> {
  let seen: Traffic | undefined;
  try {
    await eventually('packets cross as they should', async () => {
      seen = await traffic(sites);
      return isDeepStrictEqual(seen, wanted);
    });
  } catch (fault: unknown) {
    // What was seen tells more than that it was waited for in vain.
    if (seen === undefined) throw fault;
  }
  return seen ?? wanted;
}

/** Every way once, in both directions; rejects where these differ. */
async function traffic({ servers: [one, two], outside }: Sites): Promise<Traffic> {
  const [there, back] = await Promise.all([between(one, two, outside), between(two, one, outside)]);
  if (!isDeepStrictEqual(there, back)) throw new Error(`not the same both ways: ${JSON.stringify({ there, back })}`);
  return there;
}

async function between(from: Server, to: Server, outside: Host): Promise<Traffic> {
  const [
    toContainer,
    toRemoteHost,
    hostToContainer,
    toOutside,
    publishedToHost,
    publishedToContainer,
    publishedToOutside,
  ] = await Promise.all([
    containerToContainer(from, to),
    seenOf(from, from.web, to.host.ip, ON_HOST),
    seenOf(from, from.host, to.web.ip, 80),
    seenOf(from, from.web, outside.ip, ON_HOST),
    seenOf(from, from.host, to.host.ip, PUBLISHED),
    seenOf(from, from.web, to.host.ip, PUBLISHED),
    seenOfOutside(outside, to.host.ip, PUBLISHED),
  ]);
  return {
    toContainer,
    toRemoteHost,
    hostToContainer,
    toOutside,
    publishedToHost,
    publishedToContainer,
    publishedToOutside,
  };
}

async function containerToContainer(from: Server, to: Server): Promise<Seen> {
  const seen = await seenOf(from, from.web, to.web.ip, 80);
  if (seen === 'blocked') return seen;
  const { ok, output } = await from.web.ping(to.web, { packetBytes: from.mtu });
  if (!ok) throw new Error(`pages cross, full-sized packets do not: ${output}`);
  return seen;
}

async function seenOf(from: Server, place: Place, address: string, port: number): Promise<Seen> {
  const seen = await fetchPage(place, address, port);
  if (seen === undefined) return 'blocked';
  if (seen === from.web.ip) return 'container';
  if (seen === from.host.ip) return 'host';
  if (seen === from.vtep) return 'VTEP';
  throw new Error(`came from ${seen}, which is not of ${from.host.name}`);
}

async function seenOfOutside(outside: Host, address: string, port: number): Promise<Seen> {
  const seen = await fetchPage(outside, address, port);
  if (seen === undefined) return 'blocked';
  if (seen === outside.ip) return 'host';
  throw new Error(`came from ${seen}, not from outside`);
}

/** @returns whom the page's server saw; undefined where nothing, or less than the whole page, came back */
export async function fetchPage(from: Place, address: string, port: number): Promise<string | undefined> {
  const script = `exec 3<>/dev/tcp/${address}/${port} && printf 'GET ${PAGE} HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`;
  const { stdout } = await from.exec('timeout', ['2', 'bash', '-c', script]);
  const [, seen, body] = /\n\r\n(\S+)\n(x*)$/.exec(stdout) ?? [];
  return body?.length === BODY_BYTES ? seen : undefined;
}

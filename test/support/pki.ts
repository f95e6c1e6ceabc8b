/** Throw-away certificates on the P-256 curve. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface ClientPair {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface Pki {
  readonly caFile: string;
  readonly ca: Buffer;
  /** For localhost, and 127.0.0.1 or the addresses that were asked for. */
  readonly server: ClientPair;
  /** A client certificate with this common name. */
  client(commonName: string): Promise<ClientPair>;
}

/** The PEM texts alone. */
export interface PkiTexts {
  readonly ca: Buffer;
  readonly server: Pick<ClientPair, 'cert' | 'key'>;
  readonly client: Pick<ClientPair, 'cert' | 'key'>;
}

const CURVE = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];

export async function makePki(
  owner: { teardown(work: () => Promise<void>): unknown },
  ...addresses: readonly string[]
): Promise<Pki> {
  const dir = await mkdtemp(join(tmpdir(), 'tartan-pki-'));
  owner.teardown(() => rm(dir, { recursive: true, force: true }));
  const caFile = join(dir, 'ca.crt');
  const caKeyFile = join(dir, 'ca.key');
  await request(['-keyout', caKeyFile, '-out', caFile, '-subj', '/CN=test CA']);
  const issue = async (name: string, extra: readonly string[]): Promise<ClientPair> => {
    const certFile = join(dir, `${name}.crt`);
    const keyFile = join(dir, `${name}.key`);
    const signer = ['-CA', caFile, '-CAkey', caKeyFile, '-keyout', keyFile, '-out', certFile, '-subj', `/CN=${name}`];
    await request([...signer, '-addext', 'basicConstraints=critical,CA:FALSE', ...extra]);
    return { certFile, keyFile, cert: await readFile(certFile), key: await readFile(keyFile) };
  };
  const ips = addresses.length === 0 ? ['127.0.0.1'] : addresses;
  const names = `subjectAltName=${ips.map((ip) => `IP:${ip}`).join()},DNS:localhost`;
  const server = await issue('server', ['-addext', names, '-addext', 'extendedKeyUsage=serverAuth,clientAuth']);
  const client = (name: string): Promise<ClientPair> => issue(name, ['-addext', 'extendedKeyUsage=clientAuth']);
  return { caFile, ca: await readFile(caFile), server, client };
}

/** A CA with a server and a client certificate, no file of which is left. */
export async function issuePki(addresses: readonly string[], clientName: string): Promise<PkiTexts> {
  const leftovers: (() => Promise<void>)[] = [];
  try {
    const pki = await makePki({ teardown: (work) => leftovers.push(work) }, ...addresses);
    return { ca: pki.ca, server: pki.server, client: await pki.client(clientName) };
  } finally {
    await Promise.all(leftovers.map((remove) => remove()));
  }
}

async function request(args: readonly string[]): Promise<void> {
  await promisify(execFile)('openssl', ['req', '-x509', ...CURVE, ...args]);
}

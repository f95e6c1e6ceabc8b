/** Whether PEM texts are whole and fit together (pure). */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { toError } from '../config/errors.ts';
import type { EtcdTls } from '../leases/etcd.ts';

type Part = 'ca' | 'cert' | 'key';

/** One certificate; the end may be missing where the file is half written. */
const BLOCK = /-----BEGIN [A-Z ]*CERTIFICATE-----[\s\S]*?(?:-----END [A-Z ]*CERTIFICATE-----|$)/g;

/** @returns why these can't be used, by the names of their files; undefined: they can. */
export function certificateProblem(tls: EtcdTls, files: Readonly<Record<Part, string>>): string | undefined {
  const { ca, cert, key } = tls;
  const problem = bundleProblem(ca, files.ca) ?? bundleProblem(cert, files.cert) ?? keyProblem(key, files.key);
  if (problem !== undefined) return problem;
  const isPair = !cert || !key || new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  if (!isPair) return `the key in ${files.key} does not belong to the certificate in ${files.cert}`;
  try {
    createSecureContext({ ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) });
    return undefined;
  } catch (error) {
    return `${[files.ca, files.cert, files.key].filter(Boolean).join(', ')}: ${toError(error).message}`;
  }
}

/** Until when it is valid, as the certificate says it; undefined where there is none. */
export function expiryOf(cert: Buffer | undefined): string | undefined {
  return cert && new X509Certificate(cert).validTo;
}

function bundleProblem(pem: Buffer | undefined, file: string): string | undefined {
  if (pem === undefined) return undefined;
  const blocks = pem.toString().match(BLOCK) ?? [];
  if (blocks.length === 0) return `${file} holds no certificate`;
  return blocks.map((block) => parseProblem(() => new X509Certificate(block), file)).find(Boolean);
}

function keyProblem(pem: Buffer | undefined, file: string): string | undefined {
  return pem && parseProblem(() => createPrivateKey(pem), file);
}

function parseProblem(parse: () => unknown, file: string): string | undefined {
  try {
    parse();
    return undefined;
  } catch (error) {
    return `${file} is damaged or half written: ${toError(error).message}`;
  }
}

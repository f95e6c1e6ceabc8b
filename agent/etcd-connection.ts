import { readFile } from 'node:fs/promises';
import { TartanError, toError } from '../config/errors.ts';
import type { Options } from '../config/options.ts';
import { connectEtcd } from '../leases/etcd.ts';
import type { Store } from '../leases/store.ts';

async function pem(option: string, path: string): Promise<Buffer | undefined> {
  if (path === '') return undefined;
  try {
    return await readFile(path);
  } catch (error) {
    throw new TartanError('PERMISSION', `${option}: cannot read ${path}: ${toError(error).message}`, { cause: error });
  }
}

/** The store that the options name. Nothing is connected yet; rejects where a certificate file can't be read. */
export async function openStore(options: Options): Promise<Store> {
  const ca = await pem('--etcd-cafile', options.etcdCafile);
  const cert = await pem('--etcd-certfile', options.etcdCertfile);
  const key = await pem('--etcd-keyfile', options.etcdKeyfile);
  const { etcdEndpoints: endpoints, etcdUsername: username, etcdPassword: password } = options;
  return connectEtcd({
    endpoints,
    tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
    ...(username !== '' && { username, password }),
  });
}

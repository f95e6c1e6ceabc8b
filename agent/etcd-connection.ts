import { readFile } from 'node:fs/promises';
import type { Clock } from '../config/clock.ts';
import { TartanError, toError } from '../config/errors.ts';
import type { Log } from '../config/log.ts';
import type { Options } from '../config/options.ts';
import type { EtcdTls, RenewableStore } from '../leases/etcd.ts';
import { connectEtcd } from '../leases/etcd.ts';
import type { Store } from '../leases/store.ts';
import { certificateProblem, expiryOf } from './certificates.ts';

const LOOK_MS = 10_000;

export interface CertificateWatch {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Something for the operator to mend; undefined: mended. */
  onProblem(text: string | undefined): void;
}

/** The store that the options name, and the certificate files that it is reached with. */
export class EtcdConnection {
  readonly store: RenewableStore;
  readonly #options: Options;
  /** The files' contents that are in use. */
  #used: EtcdTls;

  private constructor(options: Options, tls: EtcdTls) {
    const { etcdEndpoints: endpoints, etcdUsername: username, etcdPassword: password } = options;
    this.#options = options;
    this.#used = tls;
    this.store = connectEtcd({ endpoints, tls, ...(username !== '' && { username, password }) });
  }

  /** Nothing is connected yet; rejects where a certificate file can't be read. */
  static async open(options: Options): Promise<EtcdConnection> {
    return new EtcdConnection(options, await readFiles(options));
  }

  /**
   * Takes over what the files hold when they are replaced. Contents are compared: a link that now points elsewhere
   * (kubelet, cert-manager) counts as well as a new file. Files are written one after the other, so what does not fit
   * together is looked at once more before it is told. Returns never but by rejection: the signal's reason.
   */
  async followFiles(watch: CertificateWatch): Promise<never> {
    let before: string | undefined;
    let told: string | undefined;
    for (;;) {
      await watch.clock.sleep(LOOK_MS, watch.signal);
      const problem = await this.#look(watch.log);
      const isNew = problem !== before;
      before = problem;
      if (problem === told || (problem !== undefined && isNew)) continue;
      told = problem;
      if (told !== undefined) watch.log.warn('the new etcd certificates are not taken over', { problem: told });
      watch.onProblem(told);
    }
  }

  /** @returns why what the files hold now can't be used. */
  async #look(log: Log): Promise<string | undefined> {
    const { etcdCafile: ca, etcdCertfile: cert, etcdKeyfile: key } = this.#options;
    const kept = 'the former certificates stay in use';
    try {
      const tls = await readFiles(this.#options);
      if (isSame(tls, this.#used)) return undefined;
      const problem = certificateProblem(tls, { ca, cert, key });
      if (problem !== undefined) return `${problem}; ${kept}`;
      this.store.renewTls(tls);
      this.#used = tls;
      log.info('the etcd certificates were replaced: connecting anew', { cert, ca, validUntil: expiryOf(tls.cert) });
      return undefined;
    } catch (error) {
      return `${toError(error).message}; ${kept}`;
    }
  }
}

/** For a command that is over soon. */
export async function openStore(options: Options): Promise<Store> {
  return (await EtcdConnection.open(options)).store;
}

async function readFiles(options: Options): Promise<EtcdTls> {
  const ca = await pem('--etcd-cafile', options.etcdCafile);
  const cert = await pem('--etcd-certfile', options.etcdCertfile);
  const key = await pem('--etcd-keyfile', options.etcdKeyfile);
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

async function pem(option: string, path: string): Promise<Buffer | undefined> {
  if (path === '') return undefined;
  try {
    return await readFile(path);
  } catch (error) {
    throw new TartanError('PERMISSION', `${option}: cannot read ${path}: ${toError(error).message}`, { cause: error });
  }
}

function isSame(left: EtcdTls, right: EtcdTls): boolean {
  const texts = ({ ca, cert, key }: EtcdTls): string => JSON.stringify([ca, cert, key].map(String));
  return texts(left) === texts(right);
}

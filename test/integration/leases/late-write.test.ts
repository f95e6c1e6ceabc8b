/** Packets that really are dropped: only so does the kernel keep what could arrive late. */
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { connectEtcd, type EtcdTls } from '../../../leases/etcd.ts';
import { type EtcdTlsFiles, startEtcd } from '../../support/etcd.ts';
import { makeIsland } from '../../support/island.ts';
import { makePki } from '../../support/pki.ts';

const CASES = [
  { title: 'its deadline', deadlineMs: 1000, secure: false },
  { title: 'its deadline, over TLS', deadlineMs: 1000, secure: true },
  { title: 'the dead connection', deadlineMs: 60_000, secure: false },
  { title: 'the dead connection, over TLS', deadlineMs: 60_000, secure: true },
];

for (const { title, deadlineMs, secure } of CASES) {
  test(`a transaction that hung until ${title} ended it is not carried out later`, async (t) => {
    t.timeout(120_000);
    const island = await makeIsland(t);
    const tls = secure ? await tlsFor(t, island.address) : undefined;
    const etcd = await startEtcd({ owner: t, namespace: island, ...(tls === undefined ? {} : { tls }) });
    const store = connectEtcd({ endpoints: [etcd.endpoint], deadlineMs, tls: tls === undefined ? {} : clientOf(tls) });
    t.teardown(() => store.close());
    const put = (key: string) =>
      store.txn({ compare: [], success: [{ put: key, value: '1', lease: '0' }], failure: [] });
    await put('/s/before');
    await island.blackHole();
    await t.throwsAsync(put('/s/hung'), { code: 'ETCD_UNAVAILABLE' });
    await island.heal();
    while (
      !(await put('/s/after').then(
        () => true,
        () => false,
      ))
    )
      await pause(100);
    // By now a kernel that still had the request would have sent it again.
    await pause(deadlineMs > 10_000 ? 10_000 : 3000);
    const keys = (await etcd.ctl('get', '/s/', '--prefix', '--keys-only')).split('\n').filter((line) => line !== '');
    t.deepEqual(keys, ['/s/after', '/s/before']);
  });
}

async function tlsFor(t: Parameters<typeof makePki>[0], address: string): Promise<EtcdTlsFiles> {
  const pki = await makePki(t, address);
  return { pki, client: await pki.client('agent') };
}

function clientOf({ pki, client }: EtcdTlsFiles): EtcdTls {
  return { ca: pki.ca, cert: client.cert, key: client.key };
}

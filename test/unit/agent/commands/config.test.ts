import test, { type ExecutionContext } from 'ava';
import { storeConfig } from '../../../../agent/commands/config.ts';
import { parseNetworkConfig } from '../../../../config/network-config.ts';
import type { Txn, TxnResult } from '../../../../leases/store.ts';
import { VirtualClock } from '../../../fakes/clock.ts';
import { FakeEtcd } from '../../../fakes/etcd.ts';

const PREFIX = '/coreos.com/network';
const LEASE = '{"PublicIP":"192.0.2.1","PublicIPv6":null,"BackendType":"host-gw"}';

function configOf(network: string) {
  const parsed = parseNetworkConfig(`{"Network":"${network}","Backend":{"Type":"host-gw"}}`);
  if (!parsed.ok) throw new TypeError(parsed.problems.join('; '));
  return parsed.config;
}

/** `meanwhile` happens between the judgement and each try to store. */
function scene(t: ExecutionContext, meanwhile: (etcd: FakeEtcd, tries: number) => void) {
  const etcd = new FakeEtcd(new VirtualClock());
  t.teardown(() => etcd.stop());
  const store = etcd.connect();
  let tries = 0;
  const txn = store.txn.bind(store);
  store.txn = (what: Txn): Promise<TxnResult> => {
    tries += 1;
    meanwhile(etcd, tries);
    return txn(what);
  };
  return { etcd, store };
}

const HALF = configOf('10.5.0.0/17');
const stored = (etcd: FakeEtcd): string | undefined => etcd.kvs.find(({ key }) => key === `${PREFIX}/config`)?.value;

test('a lease claimed meanwhile is judged too', async (t) => {
  const claim = (etcd: FakeEtcd): void => void etcd.put(`${PREFIX}/subnets/10.5.200.0-24`, LEASE);
  const { etcd, store } = scene(t, claim);
  await t.throwsAsync(storeConfig(store, PREFIX, HALF, false), { code: 'CONFIG_ORPHANS' });
  t.is(stored(etcd), undefined);
  await t.notThrowsAsync(storeConfig(store, PREFIX, HALF, true));
  t.is(stored(etcd), HALF.text);
});

test('a race that was lost is run again', async (t) => {
  const { etcd, store } = scene(t, (found, tries) => {
    if (tries === 1) found.put(`${PREFIX}/config`, configOf('10.5.0.0/16').text);
    if (tries === 2) found.put(`${PREFIX}/subnets/10.5.1.0-24`, LEASE);
  });
  await t.notThrowsAsync(storeConfig(store, PREFIX, HALF, false));
  t.is(stored(etcd), HALF.text);
});

test('one that is always lost says so', async (t) => {
  const { store } = scene(t, (etcd, tries) => void etcd.put(`${PREFIX}/subnets/10.5.${tries}.0-24`, LEASE));
  await t.throwsAsync(storeConfig(store, PREFIX, HALF, false), { code: 'ETCD_UNAVAILABLE' });
});

import test from 'ava';
import type { HeldLease } from '../../../leases/held-lease.ts';
import type { LeaseOwner } from '../../../leases/lease.ts';
import type { KeyValue } from '../../../leases/store.ts';
import { judge } from '../../../leases/verdict.ts';
import { ip, keyValue, net, PREFIX, type Shape } from './leases.ts';

const OWNER = { node: 'n1', name: 'host1', claim: 'c1' };
const BARE: Shape = { subnet: '10.5.1.0/24', publicIp: '192.0.2.1', mac: '02:00:00:00:00:01' };
const OURS = keyValue({ ...BARE, owner: OWNER, created: 10, etcdLease: '7' });

const HELD: HeldLease = {
  ...{ key: OURS.key, value: OURS.value, subnet: net('10.5.1.0/24'), subnet6: undefined, modRevision: 10 },
  ...{ clusterId: '1', etcdLease: '7', sideLease: '7', ttlSeconds: 60, expiresAt: 0 },
  attributes: {
    ...{ publicIp: ip('192.0.2.1'), publicIp6: ip('fd77::1'), backendType: 'vxlan', owner: OWNER },
    ...{ backendData: undefined, backendV6Data: undefined },
  },
};

function verdict(kv: KeyValue | undefined, clusterId = '1') {
  return judge(PREFIX, HELD, { kv, clusterId }, ({ backendData }) => backendData?.includes('00:01') ?? true);
}

/** What stands at our key, put after us. `owner` null: a flanneld. */
function written({
  owner,
  ...change
}: Partial<Omit<Shape, 'owner'>> & { readonly owner?: LeaseOwner | null }): KeyValue {
  const shape = { ...BARE, created: 10, modified: 20, etcdLease: '8', ...change };
  return keyValue(owner === null ? shape : { ...shape, owner: owner ?? OWNER });
}

const without = { owner: null } as const;

test('ours, gone, reserved', (t) => {
  t.is(verdict(OURS), 'ours');
  t.is(verdict({ ...OURS, modRevision: 99 }), 'ours');
  t.is(verdict(undefined), 'gone');
  t.is(verdict({ ...OURS, lease: '0' }), 'reserved');
});

test('altered: our value on another etcd lease, our claim with other data, rubbish', (t) => {
  t.is(verdict({ ...OURS, lease: '8' }), 'altered');
  t.is(verdict(written({ mac: '02:00:00:00:99:99' })), 'altered');
  t.is(verdict({ ...OURS, value: 'rubbish', modRevision: 20 }), 'altered');
  t.is(verdict({ ...OURS, value: '{}', modRevision: 20 }), 'altered');
  t.is(verdict({ ...OURS, value: '', modRevision: 20, lease: '0' }), 'altered');
});

test('flanneld: our address, our device, no owner, on an etcd lease', (t) => {
  t.is(verdict(written(without)), 'flanneld');
  t.is(verdict(written({ ...without, mac: '02:00:00:00:99:99' })), 'taken');
  t.is(verdict(written({ ...without, publicIp: '192.0.2.2' })), 'taken');
});

test('a flanneld on this host that knows no IPv6 is one on this host', (t) => {
  t.is(verdict(written({ ...without, publicIp6: undefined })), 'flanneld');
  t.is(verdict(written({ ...without, publicIp6: 'fd77::2' })), 'flanneld');
});

test('a reservation that an operator writes over our lease is no flanneld', (t) => {
  t.is(verdict(written({ ...without, etcdLease: '0' })), 'altered');
});

test('taken: another owner, or a clone of us at another address', (t) => {
  t.is(verdict(written({ owner: { node: 'n2', name: '', claim: 'c2' } })), 'taken');
  t.is(verdict(written({ publicIp: '192.0.2.2' })), 'taken');
});

test('outdated: what stands there is from before our time, or in another store', (t) => {
  const stranger = written({ owner: { node: 'n2', name: '', claim: 'c2' } });
  t.is(verdict({ ...stranger, modRevision: 9 }), 'outdated');
  t.is(verdict(stranger, '2'), 'outdated');
  t.is(verdict({ ...written(without), modRevision: 9 }), 'outdated');
  t.is(verdict(OURS, '2'), 'ours');
});

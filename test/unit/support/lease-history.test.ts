import test from 'ava';
import { type EtcdEvent, LeaseHistory } from '../../support/lease-history.ts';

function put(revision: number, subnet: string, publicIp: string, node = publicIp): EtcdEvent {
  const value = { PublicIP: publicIp, BackendData: { VtepMAC: '02:00:00:00:00:01' }, Tartan: { node } };
  return { type: 'put', key: `/net/subnets/${subnet.replace('/', '-')}`, value: JSON.stringify(value), revision };
}

function del(revision: number, subnet: string): EtcdEvent {
  return { type: 'delete', key: `/net/subnets/${subnet.replace('/', '-')}`, value: '', revision };
}

function violationsOf(...events: readonly EtcdEvent[]): readonly string[] {
  const history = new LeaseHistory();
  history.apply(events);
  return history.violations;
}

test('leases that share nothing are fine', (t) => {
  t.deepEqual(violationsOf(put(2, '10.5.1.0/24', '192.0.2.1'), put(3, '10.5.2.0/24', '192.0.2.2')), []);
});

test('a subnet inside another, one address, one node: each is found at its revision', (t) => {
  const first = put(2, '10.5.1.0/24', '192.0.2.1');
  t.deepEqual(violationsOf(first, put(3, '10.5.0.0/16', '192.0.2.2')), [
    'revision 3: 10.5.1.0/24 and 10.5.0.0/16 overlap',
  ]);
  t.is(violationsOf(first, put(3, '10.5.2.0/24', '192.0.2.1', 'other')).length, 1);
  t.is(violationsOf(first, put(3, '10.5.2.0/24', '192.0.2.2', '192.0.2.1')).length, 1);
});

test('what one transaction moves does not clash on its way', (t) => {
  const moved = [put(3, '10.5.2.0/24', '192.0.2.1'), del(3, '10.5.1.0/24')];
  t.deepEqual(violationsOf(put(2, '10.5.1.0/24', '192.0.2.1'), ...moved), []);
  const late = [put(3, '10.5.2.0/24', '192.0.2.1'), del(4, '10.5.1.0/24')];
  t.is(violationsOf(put(2, '10.5.1.0/24', '192.0.2.1'), ...late).length, 1);
});

test('keys and values that are no leases of a tartan count for nothing', (t) => {
  const junk = {
    type: 'put',
    key: '/net/subnets/10.5.1.0-24',
    value: '{"PublicIP":"192.0.2.9"}',
    revision: 3,
  } as const;
  t.deepEqual(violationsOf(put(2, '10.5.2.0/24', '192.0.2.9'), junk, { ...junk, value: 'rubbish', revision: 4 }), []);
});

test('it knows who else has held a subnet', (t) => {
  const history = new LeaseHistory();
  history.apply([put(2, '10.5.1.0/24', '192.0.2.1'), del(3, '10.5.1.0/24'), put(4, '10.5.1.0/24', '192.0.2.2')]);
  t.true(history.wasAnothers('10.5.1.0/24', '192.0.2.1'));
  t.false(history.wasAnothers('10.5.9.0/24', '192.0.2.1'));
  t.is(history.of('192.0.2.2')?.subnet, '10.5.1.0/24');
  t.is(history.of('192.0.2.1'), undefined);
});

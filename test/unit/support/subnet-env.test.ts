import test from 'ava';
import { nthAddress, parseSubnetEnv } from '../../support/subnet-env.ts';

test('reads what flannel writes', (t) => {
  const text = 'FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.17.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n';
  t.deepEqual(parseSubnetEnv(text), {
    text,
    network: '10.5.0.0/16',
    subnet: '10.5.17.1/24',
    ipv6Subnet: undefined,
    mtu: 1450,
    ipMasq: 'false',
  });
});

test('a half-written file is not there yet', (t) => {
  t.is(parseSubnetEnv('FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.17.1/24\n'), undefined);
});

test('addresses are counted from the first', (t) => {
  t.is(nthAddress('10.5.17.1/24', 2), '10.5.17.2/24');
  t.is(nthAddress('10.5.1.1/30', 2), '10.5.1.2/30');
  t.is(nthAddress('fd00:5:0:12::1/64', 17), 'fd00:5:0:12::11/64');
});

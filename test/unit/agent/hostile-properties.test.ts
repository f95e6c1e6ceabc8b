/** Whatever anybody writes to etcd: nothing throws, and the good peers stay as they are. */
import test from 'ava';
import fc from 'fast-check';
import { judgeConfig } from '../../../agent/config-change.ts';
import { peerPolicy } from '../../../agent/peer-policy.ts';
import { createBackend } from '../../../backends/backends.ts';
import { parseNetworkConfig } from '../../../config/network-config.ts';
import { Directory } from '../../../leases/directory.ts';
import type { KeyValue } from '../../../leases/store.ts';
import { backendOf, MACS, OWN, prefix, UNDERLAY, V4 } from '../backends/values.ts';
import { ip, keyValue, PREFIX } from '../leases/leases.ts';

const PARSED = parseNetworkConfig('{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}');
if (!PARSED.ok) throw new Error(PARSED.problems.join());
const RUNNING = PARSED.config;
const POLICY = peerPolicy(
  {
    ...{ underlay: UNDERLAY, underlayNetworks: [prefix('192.168.77.0/24')], gateways: [], macs: MACS },
    backend: backendOf(createBackend('vxlan', RUNNING.backend, V4, UNDERLAY)),
    held: { key: `${PREFIX}/subnets/10.5.1.0-24`, subnet: OWN.subnet, subnet6: undefined },
  },
  [prefix('10.5.0.0/16')],
  [ip('192.168.77.1'), ip('fd77::1')],
);

const GOOD = Array.from({ length: 8 }, (_, i) =>
  keyValue({
    ...{ subnet: `10.5.${i + 20}.0/24`, publicIp: `192.168.77.${i + 20}`, created: i + 1 },
    mac: `02:00:00:00:00:${i + 20}`,
  }),
);
const KEYS = new Set(GOOD.map(({ key }) => key));

/** A text with a piece of it replaced by anything. */
const tampered = (text: string): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.nat(text.length),
      fc.nat(8),
      fc.oneof(fc.string({ unit: 'binary', maxLength: 8 }), fc.constantFrom('0', '-', '/', '"', '{')),
    )
    .map(([at, length, instead]) => text.slice(0, at) + instead + text.slice(at + length));

const subnet = fc
  .tuple(
    fc.constantFrom('0.0.0.0', '10.5.0.0', '10.5.20.0', '10.5.21.128', '10.5.99.0', '192.168.77.0', '224.0.0.0'),
    fc.nat(33),
  )
  .map(([address, length]) => `${address}-${length}`);
const name = fc.oneof(
  ...[fc.string({ unit: 'binary' }), tampered('10.5.99.0-24'), tampered('10.5.99.0-24&fd00:5:0:1::-64'), subnet],
  fc.tuple(subnet, fc.string()).map(([ipv4, rest]) => `${ipv4}&${rest}`),
);
const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.constantFrom('192.168.77.20', '192.168.77.10', '127.0.0.1', '', '0.0.0.0'),
);
const mac = fc.constantFrom('02:00:00:00:00:20', '02:00:00:00:00:10', 'ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00', '1');
const value = fc.oneof(
  ...[fc.string({ unit: 'binary' }), fc.json(), tampered(GOOD[0]?.value ?? '')],
  fc
    .tuple(address, mac, fc.jsonValue())
    .map(([PublicIP, VtepMAC, more]) =>
      JSON.stringify({ PublicIP, BackendType: 'vxlan', BackendData: { VNI: 1, VtepMAC, more }, Tartan: more }),
    ),
);
const hostile: fc.Arbitrary<KeyValue[]> = fc.array(
  fc.record({ name, value, at: fc.nat(1000), lease: fc.constantFrom('0', '7') }).map(({ at, lease, ...one }) => {
    const revision = 100 + at;
    return {
      key: `${PREFIX}/subnets/${one.name}`,
      value: one.value,
      createRevision: revision,
      modRevision: revision,
      lease,
    };
  }),
  { maxLength: 30 },
);

function isUnharmed(directory: Directory): boolean {
  return GOOD.every(({ key, value: good }) => directory.peers.get(key)?.value === good);
}

test('any keys and values beside the good ones, by events and by lists', (t) => {
  fc.assert(
    fc.property(hostile, fc.boolean(), (kvs, isContinuous) => {
      const beside = kvs.filter(({ key }) => !KEYS.has(key));
      const followed = new Directory(PREFIX, POLICY);
      followed.applySnapshot(GOOD, { continuous: true, now: 0 });
      followed.applyEvents(beside.map((kv) => ({ type: 'put', kv })));
      const listed = new Directory(PREFIX, POLICY);
      listed.applySnapshot([...beside, ...GOOD], { continuous: isContinuous, now: 0 });
      followed.applyEvents(beside.map(({ key }) => ({ type: 'delete', key, modRevision: 5000 })));
      return isUnharmed(followed) && followed.refusedCount === 0 && isUnharmed(listed);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test('any value at a good key harms nobody else, and the next good one heals it', (t) => {
  fc.assert(
    fc.property(value, fc.nat(GOOD.length - 1), (text, i) => {
      const directory = new Directory(PREFIX, POLICY);
      directory.applySnapshot(GOOD, { continuous: true, now: 0 });
      const one = GOOD[i];
      if (!one) return false;
      directory.applyEvents([{ type: 'put', kv: { ...one, value: text, modRevision: 500 } }]);
      const others = GOOD.every(({ key }) => key === one.key || directory.peers.has(key));
      directory.applyEvents([{ type: 'put', kv: { ...one, modRevision: 501 } }]);
      return others && isUnharmed(directory);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test('any network config is followed, or refused with a reason', (t) => {
  const config = fc.oneof(value, tampered(RUNNING.text), fc.json());
  fc.assert(
    fc.property(config, (text) => {
      const change = judgeConfig(RUNNING, text);
      return change.kind !== 'unusable' || change.problems.length > 0;
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

import test from 'ava';
import { firewallWish, guardedDevices, reportUntil, type WishBasis } from '../../../agent/firewall-wish.ts';
import { createBackend } from '../../../backends/backends.ts';
import type { NetworkConfig } from '../../../config/network-config.ts';
import { parseNetworkConfig } from '../../../config/network-config.ts';
import { prefix } from '../../support/addresses.ts';
import { MACS, UNDERLAY } from '../backends/values.ts';

const SAID = { ipMasq: true, ipMasqFullyRandomDisable: false, iptablesForwardRules: true };
const DOCKER = { deviceRules: true, mark: { value: 0x1000, mask: 0x1000 }, extraFlags: [], notes: [] };
const DUAL = { EnableIPv6: true, IPv6Network: 'fd00:5::/48' };
const OWN = { subnet: prefix('10.5.17.0/24'), subnet6: prefix('fd00:5:0:17::/64') };
const FOUR = { family: 4, network: prefix('10.5.0.0/16'), subnet: OWN.subnet } as const;
const SIX = { family: 6, network: prefix('fd00:5::/48'), subnet: OWN.subnet6 } as const;

function configOf(json: object): NetworkConfig {
  const result = parseNetworkConfig(JSON.stringify({ Network: '10.5.0.0/16', ...json }));
  if (!result.ok) throw new Error(result.problems.join());
  return result.config;
}

function basis(json: object): WishBasis {
  const config = configOf(json);
  const families = { ipv4: config.ranges[4] !== undefined, ipv6: config.ranges[6] !== undefined };
  const created = createBackend(config.backendType, config.backend, families, UNDERLAY);
  if (!created.ok) throw new Error(created.problems.join());
  return { config, own: OWN, backend: created.backend, underlay: UNDERLAY, former: [prefix('10.9.0.0/16')] };
}

test('options and lease come through, and the families that are switched on', (t) => {
  const wish = firewallWish(basis({ Backend: { Type: 'vxlan' } }), SAID, DOCKER);
  t.deepEqual(wish, {
    ...{ families: [FOUR], masquerade: true, randomFully: true, forward: true, nftables: false },
    former: [prefix('10.9.0.0/16')],
    docker: { devices: ['flannel.1'], mark: DOCKER.mark },
  });
  const said = { ipMasq: false, ipMasqFullyRandomDisable: true, iptablesForwardRules: false };
  const other = firewallWish(basis({ ...DUAL, EnableNFTables: true, Backend: { Type: 'vxlan' } }), said, DOCKER);
  t.like(other, { masquerade: false, randomFully: false, forward: false, nftables: true });
  t.deepEqual(other.families, [FOUR, SIX]);
});

for (const [backend, devices] of [
  [{ Type: 'vxlan' }, ['flannel.1']],
  [{ Type: 'vxlan', DirectRouting: true }, ['flannel.1', UNDERLAY.dev]],
  [{ Type: 'host-gw' }, [UNDERLAY.dev]],
  [{ Type: 'vxlan', Mode: 'user' }, ['flannel.1']],
  [{ Type: 'udp' }, ['flannel0']],
  [{ Type: 'alloc' }, undefined],
] as const) {
  test(`packets of peers arrive by ${devices?.join(' and ') ?? 'nobody knows what'} with ${JSON.stringify(backend)}`, (t) => {
    t.deepEqual(firewallWish(basis({ Backend: backend }), SAID, DOCKER).docker?.devices, devices);
  });
}

test('where Docker needs no way through there is none', (t) => {
  const wish = firewallWish(basis({ Backend: { Type: 'vxlan' } }), SAID, { ...DOCKER, deviceRules: false });
  t.is(wish.docker, undefined);
});

test('each VXLAN device is guarded by its port, VNI and family', (t) => {
  const { backend } = basis({ ...DUAL, Backend: { Type: 'vxlan', VNI: 7, Port: 4789 } });
  const macs = new Map(
    [...MACS.values()].slice(0, 1).flatMap((mac) => [['flannel.7', mac] as const, ['flannel-v6.7', mac] as const]),
  );
  t.deepEqual(guardedDevices(backend, macs), [
    { device: 'flannel.7', family: 4, udpPort: 4789, vni: 7 },
    { device: 'flannel-v6.7', family: 6, udpPort: 4789, vni: 7 },
  ]);
  for (const Backend of [{ Type: 'host-gw' }, { Type: 'udp' }, { Type: 'vxlan', Mode: 'user' }]) {
    t.deepEqual(guardedDevices(basis({ Backend }).backend, MACS), []);
  }
});

test('what came from a flanneld is only told for an hour, and never longer, whatever the clock said then', (t) => {
  const now = Date.UTC(2026, 0, 1);
  const hour = 3_600_000;
  t.is(reportUntil(undefined, now), undefined);
  t.is(reportUntil(now - 1_000, now), now - 1_000 + hour);
  t.is(reportUntil(now + 1_000 * hour, now), now + hour);
});

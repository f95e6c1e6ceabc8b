import test from 'ava';
import { familiesOf, ownPart } from '../../../agent/config-families.ts';
import { probedDevices } from '../../../agent/path-probes.ts';
import { createBackend } from '../../../backends/backends.ts';
import { parseNetworkConfig } from '../../../config/network-config.ts';
import { ip, prefix } from '../../support/addresses.ts';
import { MACS, UNDERLAY } from '../backends/values.ts';

const OWN = { subnet: prefix('10.5.17.0/24'), subnet6: prefix('fd00:5:0:17::/64') };
const DUAL = { EnableIPv6: true, IPv6Network: 'fd00:5::/48' };

function probed(json: object): ReturnType<typeof probedDevices> {
  const parsed = parseNetworkConfig(JSON.stringify({ Network: '10.5.0.0/16', ...json }));
  if (!parsed.ok) throw new Error(parsed.problems.join());
  const { config } = parsed;
  const created = createBackend(config.backendType, config.backend, familiesOf(config), UNDERLAY);
  if (!created.ok) throw new Error(created.problems.join());
  return probedDevices({ backend: created.backend, own: ownPart(OWN, config), macs: MACS });
}

const FLANNEL_1 = {
  ...{ device: 'flannel.1', mac: MACS.get('flannel.1'), vni: 1, port: 8472, mtuBytes: 1450 },
  ...{ local: UNDERLAY.ip, address: ip('10.5.17.0') },
};

for (const Mode of ['kernel', 'user']) {
  test(`each family's VXLAN device asks from its own first address, in mode ${Mode}`, (t) => {
    const [four, six, ...more] = probed({ ...DUAL, Backend: { Type: 'vxlan', Mode } });
    t.deepEqual({ ...four }, FLANNEL_1);
    t.like(six, { device: 'flannel-v6.1', local: UNDERLAY.ip6, address: ip('fd00:5:0:17::'), mtuBytes: 1430 });
    t.deepEqual(more, []);
  });
}

for (const Backend of [
  { Type: 'udp' },
  { Type: 'host-gw' },
  { Type: 'alloc' },
  { Type: 'vxlan', DirectRouting: true },
]) {
  test(`nobody is asked with ${JSON.stringify(Backend)}`, (t) => {
    t.deepEqual(probed({ Backend }), []);
  });
}

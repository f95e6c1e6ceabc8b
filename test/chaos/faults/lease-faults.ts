/** What hands and hostile hosts do to the keys in etcd. */
import { PREFIX } from '../../support/agent.ts';
import { type Fault, Inapplicable, type Target } from '../fault.ts';
import { networkConfig } from '../network-config.ts';

const SUBNETS = `${PREFIX}/subnets`;

async function ctl({ fleet }: Target, args: readonly string[], input?: string): Promise<string> {
  const all = ['--command-timeout=3s', ...args];
  try {
    return await fleet.lab.etcd.ctl(all, input === undefined ? {} : { input });
  } catch {
    throw new Inapplicable('etcd does not answer');
  }
}

function ownKey({ fleet, station }: Target): string {
  const lease = fleet.history.of(station.host.ip);
  if (lease === undefined) throw new Inapplicable('there is no lease');
  return `${SUBNETS}/${lease.subnet.replace('/', '-')}`;
}

function onLease(name: string, weight: number, work: (target: Target, key: string) => Promise<string>): Fault {
  return {
    ...{ name, lane: 'lease', weight },
    async apply(target) {
      const { trouble } = target.station;
      trouble.begin();
      try {
        return { said: await work(target, ownKey(target)) };
      } finally {
        trouble.end();
      }
    },
  };
}

function lease(publicIp: string, mac: string): string {
  return `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;
}

/** Keys that must never reach a kernel, by name; made where the hosts are known. */
const HOSTILE: readonly (readonly [string, (target: Target) => Readonly<Record<string, string>>])[] = [
  ['a default route', () => ({ '0.0.0.0-0': lease('192.168.77.200', '02:00:00:00:77:aa') })],
  ["the underlay's own network", () => ({ '192.168.77.0-24': lease('192.168.77.200', '02:00:00:00:77:ab') })],
  ['a subnet outside the network', () => ({ '172.20.0.0-24': lease('192.168.77.200', '02:00:00:00:77:ac') })],
  ['a multicast address', () => ({ '10.5.150.0-24': lease('224.0.0.1', '02:00:00:00:77:ad') })],
  ['a multicast MAC', () => ({ '10.5.151.0-24': lease('192.168.77.200', '01:00:5e:00:00:01') })],
  ["the underlay's broadcast address", () => ({ '10.5.152.0-24': lease('192.168.77.255', '02:00:00:00:77:ae') })],
  [
    "a living host's MAC",
    ({ fleet, station }) => ({
      '10.5.153.0-24': lease('192.168.77.201', fleet.history.of(station.host.ip)?.mac ?? '02:00:00:00:77:af'),
    }),
  ],
  ['keys that are none', () => ({ rubbish: 'x', '10.5.999.0-24': '{}', '10.5.3.0-33': '{}', 'a/b/c': ' ' })],
  [
    'values that are none',
    () => ({ '10.5.154.0-24': '{"PublicIP":7}', '10.5.155.0-24': '\u0000', '10.5.156.0-24': ' ' }),
  ],
  [
    'a value of a megabyte',
    () => ({ '10.5.157.0-24': JSON.stringify({ PublicIP: '192.168.77.202', x: 'y'.repeat(1e6) }) }),
  ],
];

const hostile: readonly Fault[] = HOSTILE.map(([what, keys]) => ({
  ...{ name: `hostile lease: ${what}`, lane: 'store', weight: 0.3, lasts: [0.5, 8] },
  async apply(target) {
    const put = async ([key, value]: readonly [string, string]): Promise<string> =>
      await ctl(target, ['put', '--', `${SUBNETS}/${key}`], value);
    const results = await Promise.allSettled(Object.entries(keys(target)).map(put));
    // What etcd did not answer to may be there all the same, or come yet.
    const lift = async (): Promise<void> => {
      for (const key of Object.keys(keys(target))) await target.fleet.clean(`${SUBNETS}/${key}`);
    };
    const failed = results.filter(({ status }) => status === 'rejected').length;
    return { said: `put for ${target.seconds} s${failed > 0 ? ` (${failed} not answered)` : ''}`, lift };
  },
}));

const RUBBISH = 'rubbish';

/** Who can't mend it in time, because it is cut off, finds its subnet taken by rubbish; an operator deletes that. */
const garbled: Fault = {
  ...{ name: 'own key garbled', lane: 'lease', weight: 2, lasts: [3, 6] },
  async apply(target) {
    const { fleet, station } = target;
    const key = ownKey(target);
    station.trouble.begin();
    station.mayMove = true;
    const put = await ctl(target, ['put', key], RUBBISH).then(
      () => 'put',
      () => 'perhaps put',
    );
    station.trouble.end();
    const lift = async (): Promise<void> => {
      station.trouble.begin();
      if (await fleet.cleanIf(key, RUBBISH)) fleet.journal.note(`${key} was still rubbish: deleted`);
      station.trouble.end();
    };
    return { said: `${RUBBISH} ${put} at ${key}`, lift };
  },
};

export const leaseFaults: readonly Fault[] = [
  ...hostile,
  onLease('own key deleted', 3, async (target, key) => {
    await ctl(target, ['del', key]);
    return key;
  }),
  garbled,
  onLease('own etcd lease revoked', 2, async (target, key) => {
    const [, id] = /"lease":(\d+)/.exec(await ctl(target, ['get', key, '-w', 'json'])) ?? [];
    if (id === undefined) throw new Inapplicable('there is no lease');
    await ctl(target, ['lease', 'revoke', BigInt(id).toString(16)]);
    return `of ${key}`;
  }),
  onLease('own side keys deleted', 1, async (target) => {
    await ctl(target, ['del', '--prefix', `${PREFIX}/tartan/addresses/${target.station.host.ip}`]);
    return target.station.host.ip;
  }),
  {
    ...{ name: 'network config put again', lane: 'store', weight: 1 },
    async apply(target) {
      await ctl(target, ['put', `${PREFIX}/config`], networkConfig(target.fleet.stations.length));
      return { said: 'the same' };
    },
  },
];

/** What happens to a host's way to the others. */
import type { Fault, Target } from '../fault.ts';
import type { Station } from '../station.ts';

/** Until the hosts' neighbours on the wire have found each other again. */
const WIRE_SETTLES_MS = 5_000;

type Seconds = readonly [number, number];

interface Wire {
  readonly weight: number;
  readonly lasts: Seconds;
  cut(station: Station): Promise<void>;
  mend(target: Target): Promise<void>;
}

/** What keeps a host from the others, and its agent from renewing the lease. */
function cutOff(name: string, { weight, lasts, cut, mend }: Wire): Fault {
  return {
    ...{ name, lane: 'cable', weight, lasts },
    async apply(target) {
      const { fleet, station, seconds } = target;
      station.trouble.begin();
      const disturbance = fleet.disturb(station, name, { lasts: true, settleMs: WIRE_SETTLES_MS });
      await cut(station);
      const lift = async (): Promise<void> => {
        await mend(target);
        station.trouble.end();
        fleet.over(disturbance);
      };
      return { said: `for ${seconds} s`, lift };
    },
  };
}

const cable = {
  cut: ({ host }: Station) => host.unplug(),
  mend: ({ station }: Target) => station.host.plug(),
};

/** The kernel takes the routes away with the address, or with the interface. */
function defaultRoute({ fleet }: Target): string {
  return `route replace default via ${fleet.lab.gateway}`;
}

export const hostFaults: readonly Fault[] = [
  cutOff('cable unplugged', { weight: 2, lasts: [0.2, 5], ...cable }),
  cutOff('cable unplugged for longer than the lease', { weight: 0.5, lasts: [18, 24], ...cable }),
  cutOff('interface down', {
    ...{ weight: 1, lasts: [0.2, 5] },
    cut: ({ host }) => host.configure('link set eth0 down'),
    mend: (target) => target.station.host.configure('link set eth0 up', defaultRoute(target)),
  }),
  cutOff("interface's address gone", {
    ...{ weight: 1, lasts: [0.2, 5] },
    cut: async ({ host, addressTrouble }) => {
      addressTrouble.begin();
      await host.configure(`addr del ${host.ip}/24 dev eth0`);
    },
    mend: async (target) => {
      const { host, addressTrouble } = target.station;
      await host.configure(`addr replace ${host.ip}/24 dev eth0`, defaultRoute(target));
      addressTrouble.end();
    },
  }),
  {
    // Small packets go through all of it.
    ...{ name: "interface's MTU changed", lane: 'cable', weight: 1, lasts: [0.5, 8] },
    async apply({ station, seconds }) {
      const { host } = station;
      await host.configure('link set eth0 mtu 1400');
      return { said: `1400 for ${seconds} s`, lift: () => host.configure('link set eth0 mtu 1500') };
    },
  },
];

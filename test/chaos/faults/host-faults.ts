/** What happens to a host's way to the others. */
import type { Fault } from '../fault.ts';

/** Until the hosts' neighbours on the wire have found each other again. */
const WIRE_SETTLES_MS = 5_000;

function cutOff(name: string, weight: number, lasts: Fault['lasts'] & {}): Fault {
  return {
    ...{ name, lane: 'cable', weight, lasts },
    async apply({ fleet, station, seconds }) {
      station.trouble.begin();
      const disturbance = fleet.disturb(station, name, { lasts: true, settleMs: WIRE_SETTLES_MS });
      await station.host.unplug();
      const lift = async (): Promise<void> => {
        await station.host.plug();
        station.trouble.end();
        fleet.over(disturbance);
      };
      return { said: `unplugged for ${seconds} s`, lift };
    },
  };
}

export const hostFaults: readonly Fault[] = [
  cutOff('cable unplugged', 2, [0.2, 5]),
  cutOff('cable unplugged for longer than the lease', 0.5, [18, 24]),
];

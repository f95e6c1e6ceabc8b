/** The host itself changes: its interface to the others, and what is known of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from './fault.ts';
import { pictureOf } from './picture.ts';
import type { Scene } from './scene.ts';

const WITHIN_MS = 5_000;
const AWAY_MS = 3_000;
const OTHER_IP = '192.168.77.61';

function host(name: string, breaks: Fault['breaks'], more: Partial<Fault> = {}): Fault {
  return { group: 'host', name, withinMs: WITHIN_MS, breaks, ...more };
}

function defaultRoute({ lab }: Scene): string {
  return `route replace default via ${lab.gateway}`;
}

/** The peer sends what is ours to the new address, and our device sends from it. */
async function followsAddress(scene: Scene): Promise<boolean> {
  const { value } = await scene.subject.lease();
  const [here, there] = await Promise.all([pictureOf(scene.host), pictureOf(scene.neighbour.host)]);
  return (
    value.includes(`"PublicIP":"${OTHER_IP}"`) &&
    here.some((line) => line.startsWith('link ') && line.includes(` local ${OTHER_IP} `)) &&
    there.some((line) => line.startsWith('fdb ') && line.includes(` to ${OTHER_IP}`))
  );
}

async function hasMtu(scene: Scene, mtu: number): Promise<boolean> {
  const lines = await pictureOf(scene.host);
  const device = lines.some((line) => line.startsWith('link ') && line.includes(` mtu ${mtu} `));
  return device && lines.includes(`file FLANNEL_MTU=${mtu}`);
}

async function isOnUplink(scene: Scene): Promise<boolean> {
  return (await pictureOf(scene.host)).some((line) => line.startsWith('link ') && line.includes(' on uplink '));
}

export const HOST: readonly Fault[] = [
  host('the underlay loses its address, and gets it back', async (scene) => {
    await scene.ip('addr flush dev eth0');
    await sleep(AWAY_MS);
    await scene.ip(`addr add ${scene.host.ip}/24 dev eth0`, defaultRoute(scene));
  }),
  host('the underlay down, and up again', async (scene) => {
    await scene.ip('link set eth0 down');
    await sleep(AWAY_MS);
    await scene.ip('link set eth0 up', defaultRoute(scene));
  }),
  host('the cable pulled, and plugged in again', async (scene) => {
    await scene.host.unplug();
    await sleep(AWAY_MS);
    await scene.host.plug();
  }),
  host('the underlay gets a smaller MTU', ({ ip }) => ip('link set eth0 mtu 1400'), {
    holds: (scene) => hasMtu(scene, 1350),
    undo: ({ ip }) => ip('link set eth0 mtu 1500'),
  }),
  host(
    'the underlay gets another address',
    async (scene) => {
      await scene.ip(
        `addr add ${OTHER_IP}/24 dev eth0`,
        `addr del ${scene.host.ip}/24 dev eth0`,
        `addr replace ${OTHER_IP}/24 dev eth0`,
        defaultRoute(scene),
      );
    },
    { holds: followsAddress, spoils: true },
  ),
  host(
    'the underlay renamed',
    async (scene) => {
      await scene.ip('link set eth0 down', 'link set eth0 name uplink', 'link set uplink up', defaultRoute(scene));
    },
    { holds: isOnUplink, spoils: true },
  ),
];

/** What an agent tells of the paths to its peers, whoever carries its packets. */
import test from 'ava';
import type { Status } from '../../../agent/status.ts';
import { scenesOn, VXLAN } from './scene.ts';

const scenes = scenesOn();

/** The shortest, so that a path MTU is found soon. */
const OFTEN = '--path-probe=1';
const USER = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","Mode":"user"}}';

const pathsOf = ({ peers }: Status) => peers.flatMap(({ paths = [] }) => paths);

for (const [who, config] of [
  ['the kernel', VXLAN],
  ['user space', USER],
] as const) {
  test(`packets by ${who}: both ends are answered, the path MTU is found, and a dead host is silent`, async (t) => {
    const scene = await scenes(t, { hosts: 2, config });
    if (!scene) return;
    const [one, two] = [scene.host(1), scene.host(2)];
    const [first, second] = await Promise.all([scene.ready(one, [OFTEN]), scene.ready(two, [OFTEN])]);
    for (const [host, agent] of [
      [one, first],
      [two, second],
    ] as const) {
      const isKnown = (status: Status): boolean => pathsOf(status).some(({ pathMtu }) => pathMtu !== undefined);
      const [path] = pathsOf(await scene.status(host, agent, isKnown, 'knows the path'));
      t.is(path?.device, 'flannel.1');
      t.is(path?.state, 'answering');
      t.is(path?.pathMtu, 1_500);
      t.is(path?.isSmaller, false);
    }
    await scene.lab.switch.configure(`link set ${two.port} mtu 1400`);
    const isNarrow = (status: Status): boolean => pathsOf(status).some(({ pathMtu }) => pathMtu === 1_400);
    await scene.status(one, first, isNarrow, 'finds a path that has become narrower', { timeoutMs: 90_000 });
    await two.unplug();
    const isSilent = (status: Status): boolean => pathsOf(status).some(({ state }) => state === 'silent');
    await scene.status(one, first, isSilent, 'says that the peer is silent', { timeoutMs: 60_000 });
  });
}

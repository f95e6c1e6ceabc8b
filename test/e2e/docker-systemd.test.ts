/**
 * Two hosts with a real systemd as PID 1, tartan.service, and Debian's docker.service with our drop-in, on one switch
 * with etcd and a machine outside.
 */
import test, { type ExecutionContext } from 'ava';
import { PREFIX } from '../support/agent.ts';
import { type BootedHost, bootLack } from '../support/booted-host.ts';
import { DockerMachine } from '../support/docker-machine.ts';
import { MASQUERADED_BY_AGENT, MASQUERADED_BY_DOCKER, type Traffic } from '../support/docker-matrix.ts';
import { type Sites, servePage, trafficBecomes } from '../support/docker-traffic.ts';
import { createLab, type Lab } from '../support/hosts.ts';
import { isLacking } from '../support/lacking.ts';
import { PacketStream } from '../support/packet-stream.ts';
import { needs } from '../support/require.ts';

const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';
const UNITS = ['tartan.service', 'docker.service'];

const isActive = (host: BootedHost, unit: string) => async () => (await host.show(unit, 'ActiveState')) === 'active';
const timestamp = async (host: BootedHost, unit: string, name: string) =>
  Number(await host.show(unit, `${name}TimestampMonotonic`));

/** `iptables` is the old one, as where an operator chose it. */
const LEGACY = `[Unit]
Before=tartan.service docker.service
[Service]
Type=oneshot
ExecStart=update-alternatives --set iptables /usr/sbin/iptables-legacy
ExecStart=update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy
`;

/** The second boots, then the first, for which etcd comes late. */
async function bootBoth(t: ExecutionContext, lab: Lab, one: DockerMachine, two: DockerMachine): Promise<void> {
  await two.booted.start([...UNITS, 'legacy.service']);
  await two.dockerStarted();
  await lab.etcd.stop();
  await one.booted.start(UNITS);
  const waits = async () => (await one.booted.show('tartan', 'StatusText')).startsWith('waiting for etcd');
  await one.booted.until(waits);
  t.is(await one.booted.show('tartan', 'ActiveState'), 'activating');
  t.is(await one.booted.show('docker', 'ActiveState'), 'inactive');
  await lab.etcd.start();
  await one.dockerStarted();
}

async function dockerIsOnTheLease(t: ExecutionContext, { booted, subnet }: DockerMachine): Promise<void> {
  const ready = await timestamp(booted, 'tartan', 'ActiveEnter');
  t.true(ready > 0 && ready <= (await timestamp(booted, 'docker', 'ExecMainStart')));
  const shown = await booted.run('ip', 'address', 'show', 'dev', 'docker0');
  t.true(shown.includes(` ${subnet} `), shown);
  // Docker 20.10 gives the bridge its MTU with the first container.
  t.true(shown.includes(' mtu 1450 '), shown);
}

/** In the sandbox of the unit, too, rules can be made; and nothing is in the way of packets. */
async function findsNothingAmiss(t: ExecutionContext, { booted }: DockerMachine): Promise<void> {
  const inPlace = /^firewall +iptables \S+, in place for/m;
  await booted.until(async () => inPlace.test(await booted.must('tartan', 'status')));
  t.regex(await booted.must('tartan', 'docker', 'check'), /Nothing is in the way of packets/);
}

async function crosses(t: ExecutionContext, sites: Sites, wanted: Traffic): Promise<void> {
  t.deepEqual(await trafficBecomes(sites, wanted), wanted);
}

async function killedAgentIsNotMissed(t: ExecutionContext, one: DockerMachine, two: DockerMachine): Promise<void> {
  const { booted } = one;
  const docker = await booted.show('docker', 'MainPID');
  const streams = await Promise.all([PacketStream.start(one.web, two.web), PacketStream.start(two.web, one.web)]);
  await booted.run('systemctl', 'kill', '--signal=KILL', 'tartan');
  await booted.until(async () => (await booted.show('tartan', 'NRestarts')) === '1');
  await booted.until(isActive(booted, 'tartan'));
  for (const { lost, oddities } of await Promise.all(streams.map((stream) => stream.stop()))) {
    t.deepEqual({ lost, oddities }, { lost: [], oddities: [] });
  }
  t.is(await booted.show('docker', 'MainPID'), docker);
  t.is((await one.docker.container('web')).id, one.web.id);
}

/** It may run in a container of the Docker that is to start. */
async function rebootsWithoutEtcd(t: ExecutionContext, lab: Lab, machine: DockerMachine): Promise<void> {
  const { subnet } = machine;
  await lab.etcd.stop();
  await machine.reboot();
  t.is(machine.subnet, subnet);
  await dockerIsOnTheLease(t, machine);
  await lab.etcd.start();
}

async function dockerStartsWithoutAgent(t: ExecutionContext, one: DockerMachine): Promise<void> {
  // Only stopped, it would be started again with Docker: the drop-in wants it.
  await one.booted.must('systemctl', 'stop', 'tartan');
  await one.booted.must('rm', '/etc/systemd/system/tartan.service');
  await one.booted.must('systemctl', 'daemon-reload');
  await one.booted.must('systemctl', 'restart', 'docker');
  await one.webStartedAgain();
  t.is(await one.booted.show('tartan', 'ActiveState'), 'inactive');
}

test('two hosts boot, reboot, lose their agents: Docker is on the lease, and containers reach whom they should', async (t) => {
  if (isLacking(t, bootLack()) || !needs(t, 'lab', 'docker-20.10', 'iptables')) return;
  const lab = await createLab({ hosts: 3 });
  t.teardown(() => lab.destroy());
  await lab.etcd.put(`${PREFIX}/config`, CONFIG);
  const [one, two] = [new DockerMachine(lab, lab.host(1)), new DockerMachine(lab, lab.host(2))];
  t.teardown(() => Promise.all([one.booted.halt(), two.booted.halt()]));
  two.booted.write('/etc/systemd/system/legacy.service', LEGACY);
  for (const host of lab.hosts) servePage(host);
  const sites: Sites = { servers: [one, two], outside: lab.host(3) };
  await bootBoth(t, lab, one, two);
  t.regex(await one.booted.must('iptables-nft-save'), /FLANNEL-POSTRTG/);
  t.regex(await two.booted.must('iptables-legacy-save'), /FLANNEL-POSTRTG/);
  for (const machine of [one, two]) await machine.runWeb();
  for (const machine of [one, two]) await dockerIsOnTheLease(t, machine);
  await crosses(t, sites, MASQUERADED_BY_AGENT);
  for (const machine of [one, two]) await findsNothingAmiss(t, machine);
  await killedAgentIsNotMissed(t, one, two);
  const { subnet } = one;
  await one.reboot();
  t.is(one.subnet, subnet);
  await dockerIsOnTheLease(t, one);
  await crosses(t, sites, MASQUERADED_BY_AGENT);
  await rebootsWithoutEtcd(t, lab, two);
  await crosses(t, sites, MASQUERADED_BY_AGENT);
  await Promise.all([one.masquerade(false), two.masquerade(false)]);
  await crosses(t, sites, MASQUERADED_BY_DOCKER);
  await dockerStartsWithoutAgent(t, one);
  await crosses(t, sites, MASQUERADED_BY_DOCKER);
});

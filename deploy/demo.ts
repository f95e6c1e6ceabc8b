/**
 * `npm run demo [-- --keep]`: four hosts, a real etcd, the real kernel, and everything that the agent is for, observed
 * step by step. Exit status 0 only where every step was seen; whatever happens, nothing is left behind.
 */

import { PREFIX, TARTAN, tartanOn } from '../test/support/agent.ts';
import { eventually } from '../test/support/eventually.ts';
import { createLab, type Lab } from '../test/support/hosts.ts';
import { Member } from '../test/support/member.ts';
import { explain, failed, heading, observed, say, seconds, show, table } from './screen.ts';

const HOSTS = 4;
const LEASE_SECONDS = 10;
const FLAGS = [`--lease-ttl=${LEASE_SECONDS}`];
const CONFIG = '{ "Network": "10.5.0.0/16", "SubnetLen": 24, "Backend": { "Type": "vxlan" } }';

const began = performance.now();
const members: Member[] = [];

async function buildHosts(): Promise<Lab> {
  heading(`${HOSTS} hosts on one switch, and an etcd`);
  explain('Each "host" is a set of namespaces on this machine: an own network stack, an own /run, state directory and');
  explain("machine-id. The switch is a bridge, in a namespace too: this machine's own network is not touched.");
  const lab = await createLab({ hosts: HOSTS });
  for (const host of lab.hosts) members.push(new Member(lab, host));
  table([['switch', lab.gateway, `etcd at ${lab.etcd.endpoint}`], ...lab.hosts.map((host) => [host.name, host.ip])]);
  const reached = await Promise.all(lab.hosts.map((host) => host.ping(lab.gateway)));
  if (reached.some((ping) => !ping.ok)) throw new Error('a host does not reach the switch');
  observed(`built in ${seconds(began)}; every host reaches the switch`);
  return lab;
}

async function tartan(lab: Lab, args: readonly string[], input?: string): Promise<string> {
  const host = lab.host(1);
  const { status, stdout, stderr } = await tartanOn(lab, host, args, input);
  if (status !== 0) throw new Error(`tartan ${args.join(' ')} ended with ${status}\n${stderr}${stdout}`);
  return stdout;
}

async function storeConfig(lab: Lab): Promise<void> {
  heading('The network config, one key in etcd');
  explain('One range for all containers; every host is to get a /24 of it, and VXLAN is to carry the packets.');
  const said = await tartan(lab, ['config', 'set', '-'], CONFIG);
  show('host1', `echo '${CONFIG}' | tartan config set -`, said);
  const [entry] = await lab.etcd.list(`${PREFIX}/config`);
  if (entry === undefined) throw new Error('the config is not in etcd');
  observed(`${entry.key} is stored`);
}

async function startAgents(lab: Lab): Promise<void> {
  heading('An agent on each host claims a subnet');
  explain(
    `They know nothing but etcd's address. A claim is a lease: renewed while the agent lives, free ${LEASE_SECONDS} s`,
  );
  explain('after it died (a day in real life; short here so that you can watch it).');
  show('host1', `tartan run --etcd-endpoints=${lab.etcd.endpoint} --iface=eth0 ${FLAGS.join(' ')}`, '');
  const start = performance.now();
  await Promise.all(
    members.map(async (member) => {
      const env = await member.start(FLAGS);
      observed(`${member.name} holds ${member.network}, published ${seconds(start)} after the start: ${env.subnet}`);
    }),
  );
  const networks = new Set(members.map((member) => member.network));
  if (networks.size !== members.length) throw new Error('two hosts hold the same subnet');
  show('host1', 'tartan leases', await tartan(lab, ['leases']));
  const leases = await lab.etcd.list(`${PREFIX}/subnets/`);
  show(
    'switch',
    `etcdctl get --prefix ${PREFIX}/subnets/`,
    leases.map(({ key, value }) => `${key}\n  ${value}`).join('\n'),
  );
  if (leases.length !== members.length) throw new Error(`etcd holds ${leases.length} leases`);
}

function showSubnetFiles(): void {
  heading('What container engines read: /run/flannel/subnet.env');
  explain(
    'Docker, CNI and scripts made for flannel find what they know: the subnet, and the MTU that fits the tunnel.',
  );
  const files = members.map((member) => member.env.text.trimEnd().split('\n'));
  const lines = Math.max(...files.map((file) => file.length));
  table([members.map((m) => m.name), ...Array.from({ length: lines }, (_, i) => files.map((file) => file[i] ?? ''))]);
  observed(`${members.length} files, ${new Set(files.map((file) => file[1])).size} different subnets`);
}

async function showKernel(): Promise<void> {
  heading('What the kernel holds: a route, a neighbour and a forwarding entry for every peer');
  explain(
    "A packet for a peer's subnet takes its route, gets the MAC address of the peer's tunnel end (neighbour), and",
  );
  explain('is sent to the host where that MAC lives (FDB).');
  await Promise.all(members.map((member) => member.programmed(members)));
  const [first] = members;
  if (first === undefined) return;
  const { routes, neighbours, fdb } = await first.kernel();
  show('host1', 'ip route', routes.join('\n'));
  show('host1', 'ip neigh show dev flannel.1', neighbours.join('\n'));
  show('host1', 'bridge fdb show dev flannel.1', fdb.join('\n'));
  observed(`every host has all three entries for each of its ${members.length - 1} peers`);
}

async function pingAll(among: readonly Member[], packetBytes?: number): Promise<void> {
  const times = await Promise.all(
    among.map((from) => Promise.all(among.map((to) => (from === to ? undefined : from.reach(to, packetBytes))))),
  );
  const rows = among.map((from, i) => [
    `${from.name} ${from.container.ip}`,
    ...among.map((_, j) => (i === j ? '-' : `${times[i]?.[j] ?? '?'} ms`)),
  ]);
  table([['from \\ to', ...among.map((to) => to.name)], ...rows]);
}

async function crossPackets(): Promise<void> {
  heading('Containers reach each other');
  explain("Behind each host a bridge as Docker makes it (docker0, with the lease's first address), and a container.");
  await Promise.all(members.map((member) => member.addContainer()));
  const mtu = members[0]?.env.mtu ?? 0;
  await pingAll(members);
  observed('every container reaches every other one');
  explain(`Again with packets of the full MTU, ${mtu} bytes, that nobody may fragment (ping -M do -s ${mtu - 28}):`);
  await pingAll(members, mtu);
  observed(`${mtu} bytes pass in one piece`);
}

async function loseHost(lab: Lab): Promise<void> {
  const dead = members.pop();
  const [witness] = members;
  if (dead === undefined || witness === undefined) return;
  heading(`${dead.name} dies`);
  explain('kill -9 of its agent, and its cable pulled. Nobody says goodbye: its lease has to run out.');
  await dead.agent.kill();
  await dead.host.unplug();
  const start = performance.now();
  show('switch', `etcdctl lease timetolive`, await dead.leaseTimeLeft());
  const wait = { timeoutMs: (LEASE_SECONDS + 20) * 1000, context: () => witness.agent.tail() };
  await eventually(`the lease of ${dead.name} runs out`, async () => !(await dead.leaseExists()), wait);
  observed(`etcd dropped the lease of ${dead.network} after ${seconds(start)}`);
  await Promise.all(members.map((member) => member.forgot(dead)));
  observed(
    `no route, neighbour or FDB entry of it is left on ${members.map((m) => m.name).join(', ')} (${seconds(start)})`,
  );
  show('host1', 'ip route', (await witness.kernel()).routes.join('\n'));
  show('host1', 'tartan leases', await tartan(lab, ['leases']));
  await pingAll(members);
  observed('the others reach each other as before');
}

async function welcome(lab: Lab): Promise<void> {
  heading('A newcomer');
  const newcomer = new Member(lab, await lab.addHost());
  const start = performance.now();
  await newcomer.start(FLAGS);
  observed(
    `${newcomer.name} (${newcomer.host.ip}) holds ${newcomer.network} ${seconds(start)} after the start of its agent`,
  );
  await newcomer.addContainer();
  await Promise.all(members.map((member) => member.reach(newcomer)));
  observed(`reached from every container ${seconds(start)} after the start`);
  members.push(newcomer);
  await pingAll(members, newcomer.env.mtu);
  observed(`and reaches every one, ${newcomer.env.mtu} bytes included`);
}

/** A `tartan` in each host's own /run, so that what the demo shows can be typed. @returns the shell to enter by */
async function shellOn({ host }: Member, lab: Lab): Promise<string> {
  const script = `#!/bin/sh\nTARTAN_ETCD_ENDPOINTS=${lab.etcd.endpoint} exec ${TARTAN.join(' ')} "$@"\n`;
  await host.run('sh', ['-c', 'mkdir -p /run/bin && cat >/run/bin/tartan && chmod +x /run/bin/tartan'], {
    input: script,
  });
  return `${host.enter.join(' ')} env PATH=/run/bin:$PATH bash`;
}

async function howToLookAround(lab: Lab): Promise<void> {
  const [first, second] = members;
  if (first === undefined || second === undefined) return;
  const living = members.filter((member) => member.agent.running);
  const shells = await Promise.all(living.map(async (member) => [member.name, await shellOn(member, lab)]));
  say('\nEverything stays up until Ctrl-C. From another terminal, as root, a shell on each host that lives:');
  table(shells);
  say('\nThere, for example:');
  table([
    ['tartan status', 'the agent of that host; also: tartan leases, tartan config get, tartan help'],
    ['ip route; bridge fdb show dev flannel.1', 'what it programmed'],
    ['ip route flush proto 84; ip route', 'what happens to routes that somebody deletes'],
    ['tcpdump -ni eth0 udp port 8472', 'the tunnel (apt-get install tcpdump)'],
  ]);
  say('\nA container, and etcd:');
  table([
    [`${first.container.enter.join(' ')} ping ${second.container.ip}`],
    [`${lab.switch.enter.join(' ')} env ETCDCTL_API=3 etcdctl --endpoints=${lab.etcd.endpoint} get --prefix /`],
  ]);
}

async function tell(): Promise<Lab> {
  const lab = await buildHosts();
  await storeConfig(lab);
  await startAgents(lab);
  showSubnetFiles();
  await showKernel();
  await crossPackets();
  await loseHost(lab);
  await welcome(lab);
  say();
  observed(`every step observed, in ${seconds(began)}`);
  return lab;
}

function complain(fault: unknown): void {
  failed(fault instanceof Error ? fault.message : String(fault));
  for (const member of members) if (member.started) say(member.agent.tail(6));
}

async function main(args: readonly string[]): Promise<void> {
  const keep = args.includes('--keep');
  const unknown = args.filter((arg) => arg !== '--keep');
  if (unknown.length > 0) {
    failed(`unknown argument ${unknown.join(' ')}; usage: npm run demo -- [--keep]`);
    process.exit(2);
  }
  let status = 130;
  for (const [signal, number] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => {
      // The lab is destroyed at exit.
      say('\nCleaning up.');
      process.exit(status === 130 ? number : status);
    });
  }
  try {
    const lab = await tell();
    status = 0;
    if (keep) await howToLookAround(lab);
  } catch (fault: unknown) {
    complain(fault);
    status = 1;
    if (keep) say('\nThe hosts stay up for a look, until Ctrl-C.');
  }
  if (keep) setInterval(() => {}, 60_000);
  else process.exit(status);
}

await main(process.argv.slice(2));

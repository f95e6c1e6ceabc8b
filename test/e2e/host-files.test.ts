import { spawnSync } from 'node:child_process';
import test from 'ava';
import { isLacking } from '../support/lacking.ts';
import { inRepository } from '../support/repository.ts';

/** Output of a script in a network and a mount namespace of its own. */
function onBareHost(script: string, ...args: readonly string[]): string {
  const argv = ['--net', '--mount', 'sh', '-ec', script, 'sh', ...args];
  const { stdout, stderr, status } = spawnSync('unshare', argv, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : `status ${status}: ${stderr}`;
}

function lack(...commands: readonly string[]): string | undefined {
  if (process.getuid?.() !== 0) return 'root';
  return commands.find((command) => spawnSync('sh', ['-c', `command -v ${command}`]).status !== 0);
}

test('the sysctl file switches forwarding on, for IPv4 only', (t) => {
  if (isLacking(t, lack('unshare', 'sysctl'))) return;
  const script = 'sysctl -qw net.ipv4.ip_forward=0; sysctl -qp "$1"; cat /proc/sys/net/ipv4/ip_forward';
  t.is(onBareHost(script, inRepository('deploy/90-tartan.conf')), '1');
});

test('ip route names our routes', (t) => {
  if (isLacking(t, lack('unshare', 'ip'))) return;
  const script = `mount -t tmpfs tmpfs /etc/iproute2; mkdir /etc/iproute2/rt_protos.d; cp "$1" /etc/iproute2/rt_protos.d
    ip link set lo up; ip route add 10.5.2.0/24 dev lo proto 84; ip route show proto tartan`;
  const shown = onBareHost(script, inRepository('deploy/rt_protos.d/tartan.conf'));
  t.is(shown, '10.5.2.0/24 dev lo scope link');
});

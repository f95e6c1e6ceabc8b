/** Wires that lose or reorder frames. Needs nft, and perl for the latter. */
import type { Host } from './host.ts';
import type { Lab } from './hosts.ts';

/** From now on the switch drops so many of a hundred frames that it forwards with UDP in them. */
export async function loseFrames(lab: Lab, percent: number): Promise<void> {
  const rule = `ether type ip ip protocol udp numgen random mod 100 < ${percent} counter drop`;
  const script = `table bridge lossy { chain forward { type filter hook forward priority 0; ${rule}; }; }`;
  await lab.switch.run('nft', ['-f', '-'], { input: script });
}

/** How many were dropped so far. */
export async function lostFrames(lab: Lab): Promise<number> {
  const table = await lab.switch.run('nft', ['list', 'table', 'bridge', 'lossy']);
  return Number(/counter packets (\d+)/.exec(table)?.[1] ?? Number.NaN);
}

/**
 * Passes frames on between two interfaces. ARGS: the one, the other, 1 of how many is held back, until how many others
 * have passed (or nothing comes).
 */
const SHUFFLE = `
use strict; use Socket; $| = 1;
my ($near, $far, $one_of, $behind) = @ARGV;
my (@sockets, @indices, @held, $moved);
for my $name ($near, $far) {
  open(my $file, '<', "/sys/class/net/$name/ifindex") or die; chomp(my $index = <$file>);
  socket(my $socket, 17, SOCK_RAW, unpack('S', pack('n', 3))) or die "socket: $!";
  setsockopt($socket, SOL_SOCKET, 33, pack('i', 16 << 20));
  bind($socket, pack('S n i S C C a8', 17, 3, $index, 0, 0, 0, '')) or die "bind: $!";
  push @sockets, $socket; push @indices, $index;
}
print "ready\\n";
for (;;) {
  my $readable = ''; vec($readable, fileno($_), 1) = 1 for @sockets;
  my $count = select($readable, undef, undef, @held ? 0.002 : undef);
  if ($count == 0) { for (@held) { my ($to, $frame) = @$_; send($sockets[$to], $frame, 0) } @held = (); next; }
  for my $from (0, 1) {
    next unless vec($readable, fileno($sockets[$from]), 1);
    my $sender = recv($sockets[$from], my $frame, 65600, 64); next unless defined $sender;
    my (undef, undef, undef, undef, $kind) = unpack('S n i S C', $sender);
    next if $kind == 4;
    if (rand() < 1 / $one_of) { push @held, [1 - $from, $frame, $behind]; $moved++; next; }
    send($sockets[1 - $from], $frame, 0);
    $_->[2]-- for @held;
    while (@held && $held[0][2] <= 0) { my ($to, $late) = @{shift @held}; send($sockets[$to], $late, 0) }
  }
}`;

/** From now on one of so many frames from and to the host comes after some that were sent later. */
export async function reorderFrames(lab: Lab, host: Host, oneOf: number): Promise<void> {
  const [near, far] = [`${host.port}a`, `${host.port}b`];
  await lab.switch.configure(
    `link set ${host.port} nomaster`,
    `link add ${near} type veth peer name ${far}`,
    `link set ${near} up`,
    `link set ${far} master br0 up`,
  );
  for (const name of [near, far])
    await lab.switch.run('ethtool', ['-K', name, 'tso', 'off', 'gso', 'off', 'tx', 'off']);
  const shuffler = lab.switch.spawn('perl', ['-e', SHUFFLE, host.port, near, String(oneOf), '5']);
  await shuffler.until(/^ready$/);
}

/**
 * From now on the hosts reach each other by a router, and its link carries packets of so many bytes at most. What is
 * larger is cut into fragments, unless it forbids that.
 */
export async function narrowPath(lab: Lab, [one, two]: readonly [Host, Host], mtu: number): Promise<void> {
  const settings = ['ip_forward=1', 'conf/all/send_redirects=0', 'conf/br0/send_redirects=0'];
  for (const setting of settings) {
    const [name, value] = setting.split('=');
    await lab.switch.run('sh', ['-c', `echo ${value} >/proc/sys/net/ipv4/${name}`]);
  }
  await lab.switch.configure(...[one, two].map(({ ip }) => `route add ${ip}/32 dev br0 mtu lock ${mtu}`));
  await one.configure(`route add ${two.ip}/32 via ${lab.gateway}`);
  await two.configure(`route add ${one.ip}/32 via ${lab.gateway}`);
}

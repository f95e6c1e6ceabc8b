import { spawnSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import { ERRORS } from '../../config/errors.ts';
import { isLacking } from '../support/lacking.ts';
import { inRepository, readRepository } from '../support/repository.ts';
import { SystemdRoot, systemdLack } from '../support/systemd-root.ts';
import { parseUnitFile } from '../support/unit-file.ts';

const UNIT = '/etc/systemd/system/tartan.service';
const DROP_IN = '/etc/systemd/system/docker.service.d/tartan.conf';

/** Docker's unit in its own packages' shape, reduced to what the drop-in touches. */
const DOCKER = `[Unit]
Requires=docker.socket
After=network-online.target docker.socket
[Service]
Type=notify
ExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock
Restart=always
RestartSec=2
StartLimitBurst=3
StartLimitInterval=60s
`;

function hostWithTartan(t: ExecutionContext): SystemdRoot {
  const root = new SystemdRoot();
  t.teardown(() => root.remove());
  root.install('deploy/tartan.service', UNIT);
  root.stub('/bin/sh');
  root.stub('/usr/local/bin/tartan');
  return root;
}

function addDocker(root: SystemdRoot, program: string): void {
  root.write('/usr/lib/systemd/system/docker.service', DOCKER.replace('/usr/bin/dockerd', program));
  root.write('/usr/lib/systemd/system/docker.socket', '[Socket]\nListenStream=/run/docker.sock\n');
  root.stub(program);
  root.install('deploy/docker.service.d/tartan.conf', DROP_IN);
}

test('systemd finds nothing to say about tartan.service', (t) => {
  if (isLacking(t, systemdLack())) return;
  t.deepEqual(hostWithTartan(t).verify('tartan.service'), { status: 0, output: '' });
});

test('the check sees a program that is not there and a key that does not exist', (t) => {
  if (isLacking(t, systemdLack())) return;
  const root = new SystemdRoot();
  t.teardown(() => root.remove());
  root.install('deploy/tartan.service', UNIT);
  root.stub('/bin/sh');
  t.not(root.verify('tartan.service').status, 0);
  root.stub('/usr/bin/tartan');
  t.is(root.verify('tartan.service').output, '');
  root.write(UNIT, readRepository('deploy/tartan.service').replace('WatchdogSec', 'WatchdogSecs'));
  t.not(root.verify('tartan.service').output, '');
});

for (const program of ['/usr/bin/dockerd', '/usr/sbin/dockerd']) {
  test(`the drop-in fits a docker.service that starts ${program}`, (t) => {
    if (isLacking(t, systemdLack())) return;
    const root = hostWithTartan(t);
    addDocker(root, program);
    t.deepEqual(root.verify('docker.service'), { status: 0, output: '' });
  });
}

test('tartan.service stays well hardened', (t) => {
  if (isLacking(t, systemdLack())) return;
  const args = ['security', '--offline=true', '--no-pager', '--threshold=25', inRepository('deploy/tartan.service')];
  const { status, stdout } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  t.is(status, 0, stdout);
});

test('the unit holds no setting that the agent cannot live with', (t) => {
  const unit = parseUnitFile(readRepository('deploy/tartan.service'));
  t.deepEqual(unit.get('Service.CapabilityBoundingSet'), ['CAP_NET_ADMIN CAP_NET_RAW']);
  t.false(unit.has('Service.MemoryDenyWriteExecute'), 'V8 compiles at run time');
  t.false(unit.has('Service.ProcSubset'), '/proc/sys is needed');
  t.false(unit.has('Service.PrivateDevices'), '/dev/net/tun is needed');
  t.true(unit.get('Service.RestrictAddressFamilies')?.[0]?.includes('AF_NETLINK'));
});

test('systemd waits for readiness without a limit, restarts what failed for ever and keeps /run/flannel', (t) => {
  const unit = parseUnitFile(readRepository('deploy/tartan.service'));
  const setting = (name: string): string | undefined => unit.get(name)?.join(' | ');
  t.is(setting('Service.Type'), 'notify');
  t.is(setting('Service.NotifyAccess'), 'main');
  t.is(setting('Service.TimeoutStartSec'), 'infinity');
  t.is(setting('Service.Restart'), 'on-failure');
  t.is(setting('Service.RestartForceExitStatus'), 'SIGHUP');
  t.is(setting('Unit.StartLimitIntervalSec'), '0');
  t.is(setting('Service.RuntimeDirectory'), 'flannel');
  t.is(setting('Service.RuntimeDirectoryPreserve'), 'yes');
  t.is(setting('Service.StateDirectory'), 'tartan');
  t.is(setting('Service.CacheDirectory'), 'tartan');
  t.is(setting('Unit.Before'), 'docker.service');
});

test('exactly the failures that no restart mends end the restarting', (t) => {
  const unit = parseUnitFile(readRepository('deploy/tartan.service'));
  const final = [ERRORS.USAGE, ERRORS.LEASE_TAKEN_OVER].map(({ exit }) => exit);
  t.deepEqual(unit.get('Service.RestartPreventExitStatus')?.[0]?.split(' ').map(Number), final);
});

test('Docker is ordered after tartan, not bound to it, and does not start without its options', (t) => {
  const dropIn = parseUnitFile(readRepository('deploy/docker.service.d/tartan.conf'));
  t.deepEqual(dropIn.get('Unit.Wants'), ['tartan.service']);
  t.deepEqual(dropIn.get('Unit.After'), ['tartan.service']);
  for (const key of ['Requires', 'BindsTo', 'PartOf', 'Requisite']) t.false(dropIn.has(`Unit.${key}`), key);
  t.deepEqual(dropIn.get('Service.EnvironmentFile'), ['/run/flannel/docker']);
  t.is(dropIn.get('Service.ExecStart')?.[0], '', 'the packaged command is reset');
  t.true(dropIn.get('Service.ExecStart')?.[1]?.endsWith(' $DOCKER_NETWORK_OPTIONS'));
});

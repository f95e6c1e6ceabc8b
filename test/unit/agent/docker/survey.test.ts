import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { dockerWays } from '../../../../agent/docker/engine.ts';
import { DockerSurvey } from '../../../../agent/docker/survey.ts';

const HELP_29 = readFileSync('test/golden/docker-rules/29-help.txt', 'utf8');
const OPTIONS = '/run/flannel/docker';
const UNIT = '/usr/lib/systemd/system/docker.service';
const DROP_IN = '/etc/systemd/system/docker.service.d/tartan.conf';
const OURS = readFileSync('deploy/docker.service.d/tartan.conf', 'utf8');
const DOCKERS = `[Unit]\nAfter=containerd.service\n[Service]\nExecStart=/usr/bin/dockerd -H fd://\n`;

/** A host in a directory. */
class Host {
  readonly root = mkdtempSync(join(tmpdir(), 'tartan-survey-'));
  helps = 0;
  help = HELP_29;

  constructor(t: ExecutionContext, files: Readonly<Record<string, string>> = {}, isBooted = true) {
    t.teardown(() => rmSync(this.root, { recursive: true }));
    if (isBooted) mkdirSync(this.path('/run/systemd/system'), { recursive: true });
    for (const [path, text] of Object.entries(files)) this.write(path, text);
  }

  path(path: string): string {
    return join(this.root, path);
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(this.path(path)), { recursive: true });
    writeFileSync(this.path(path), text);
  }

  survey(dockerd = ''): DockerSurvey {
    const run = () => {
      this.helps += 1;
      return Promise.resolve({ ok: true, stdout: this.help, stderr: '', failure: '' });
    };
    return new DockerSurvey({ programs: { run }, dockerd, optionsFile: OPTIONS, path: '/usr/bin', root: this.root });
  }

  /** What answers on the socket, with this process as its daemon. */
  async serve(t: ExecutionContext, answers: Readonly<Record<string, unknown>>): Promise<void> {
    const server = createServer((request, response) => {
      const answer = answers[request.url ?? ''];
      if (answer !== 'hangs') response.end(typeof answer === 'string' ? answer : JSON.stringify(answer ?? null));
    });
    this.write('/run/docker.pid', `${process.pid}`);
    await new Promise<void>((resolve) => server.listen(this.path('/run/docker.sock'), resolve));
    t.teardown(() => {
      server.closeAllConnections();
      server.close();
    });
  }
}

test('a host without Docker', async (t) => {
  const host = new Host(t);
  const engine = await host.survey().look();
  t.deepEqual([engine.isFound, engine.pid, engine.unit, engine.problems], [false, undefined, undefined, []]);
  t.is(host.helps, 0);
});

test('docker.service with its drop-ins', async (t) => {
  const host = new Host(t, {
    [UNIT]: DOCKERS,
    [DROP_IN]: OURS,
    '/etc/default/docker': 'DOCKER_OPTS="--iptables=false"',
    [OPTIONS]: 'DOCKER_NETWORK_OPTIONS=" --bip=10.5.1.1/24 --mtu=1450"',
    '/usr/lib/systemd/system/docker.service.d/zz.conf': '[Service]\nEnvironmentFile=-/etc/default/docker\n',
    '/run/systemd/system/docker.service.d/zz.conf':
      '[Service]\nEnvironmentFile=-/etc/default/docker\nEnvironment=A=1\n',
  });
  const { isFound, unit, settings, problems } = await host.survey().look();
  t.true(isFound);
  t.deepEqual(unit?.ownOptions, { isOptional: false });
  t.true(unit?.after.has('tartan.service'));
  t.is(unit?.path, DROP_IN);
  t.deepEqual(settings.get('iptables'), [{ value: 'false', from: DROP_IN, isFlag: true }]);
  t.deepEqual([settings.has('bip'), settings.has('mtu')], [false, false], "tartan's own");
  t.deepEqual(problems, []);
});

test('an options file that the command does not use is not read', async (t) => {
  const host = new Host(t, { [UNIT]: DOCKERS, [OPTIONS]: 'DOCKER_NETWORK_OPTIONS="--mtu=1450"' });
  t.is((await host.survey().look()).unit?.ownOptions, undefined);
  host.write(DROP_IN, `[Service]\nEnvironmentFile=${OPTIONS}\n`);
  t.is((await host.survey().look()).unit?.ownOptions, undefined, 'no variable in ExecStart');
});

test('a masked unit, and a host that systemd does not run, have none', async (t) => {
  const host = new Host(t, { [UNIT]: DOCKERS });
  mkdirSync(host.path('/etc/systemd/system'), { recursive: true });
  symlinkSync('/dev/null', host.path('/etc/systemd/system/docker.service'));
  t.is((await host.survey().look()).unit, undefined);
  const other = new Host(t, { [UNIT]: DOCKERS }, false);
  t.is((await other.survey().look()).unit, undefined);
});

test('daemon.json is where the command says', async (t) => {
  const host = new Host(t, {
    [UNIT]: '[Service]\nExecStart=/usr/bin/dockerd --config-file /etc/other.json\n',
    '/etc/docker/daemon.json': '{"firewall-backend":"nftables"}',
    '/etc/other.json': '{"mtu": 9000, "hosts": ["unix:///run/other.sock"]}',
  });
  const engine = await host.survey().look();
  t.deepEqual(
    [engine.configFile, engine.socket, engine.chosenBackend],
    ['/etc/other.json', '/run/other.sock', undefined],
  );
  t.deepEqual(engine.settings.get('mtu'), [{ value: 9000, from: '/etc/other.json', isFlag: false }]);
});

test('with iptables no process is started; with nftables one, once for a program', async (t) => {
  const host = new Host(t, { [UNIT]: DOCKERS, '/usr/bin/dockerd': 'x' });
  const survey = host.survey(host.path('/usr/bin/dockerd'));
  await survey.look();
  t.is(host.helps, 0);
  host.write('/etc/docker/daemon.json', '{"firewall-backend":"nftables"}');
  t.is(dockerWays(await survey.look(), 'auto').extraFlags.length, 2);
  await survey.look();
  t.is(host.helps, 1);
  host.help = 'it is broken';
  host.write('/usr/bin/dockerd', 'another one');
  const engine = await survey.look();
  t.deepEqual([engine.knownFlags, dockerWays(engine, 'auto').extraFlags], [undefined, []]);
});

test('the program is looked for in the unit and in PATH', async (t) => {
  const host = new Host(t, { [UNIT]: DOCKERS.replace('/usr/bin/', ''), '/usr/sbin/dockerd': 'x' });
  chmodSync(host.path('/usr/sbin/dockerd'), 0o755);
  t.deepEqual((await host.survey().look()).dockerd, { value: '/usr/sbin/dockerd', from: 'PATH' });
  host.write(UNIT, DOCKERS);
  t.deepEqual((await host.survey().look()).dockerd, { value: '/usr/bin/dockerd', from: UNIT });
  t.deepEqual((await host.survey('/opt/dockerd').look()).dockerd, { value: '/opt/dockerd', from: '--dockerd' });
});

test('a daemon that answers tells its firewall, and by its API which flags it knows', async (t) => {
  const host = new Host(t);
  await host.serve(t, {
    '/version': { Version: '29.1.0', ApiVersion: '1.52' },
    '/info': { FirewallBackend: { Driver: 'nftables+firewalld' } },
  });
  const engine = await host.survey().look();
  t.deepEqual([engine.pid, engine.version, engine.runningBackend], [process.pid, '29.1.0', 'nftables']);
  t.is(dockerWays(engine, 'auto').extraFlags.length, 2);
});

test('an older daemon knows only some flags', async (t) => {
  const host = new Host(t);
  await host.serve(t, {
    '/version': { Version: '28.2.0', ApiVersion: '1.50' },
    '/info': { FirewallBackend: { Driver: 'iptables' } },
  });
  const engine = await host.survey().look(true);
  t.deepEqual([...(engine.knownFlags?.value ?? [])], ['allow-direct-routing']);
  t.deepEqual(dockerWays(engine, 'nftables').extraFlags, []);
});

test('a daemon that is away for a moment keeps its firewall in mind', async (t) => {
  const host = new Host(t);
  const info: Record<string, unknown> = { FirewallBackend: { Driver: 'nftables' } };
  await host.serve(t, { '/version': { Version: '29', ApiVersion: '1.52' }, '/info': info });
  const survey = host.survey();
  await survey.look();
  info['FirewallBackend'] = 7;
  t.is((await survey.look()).runningBackend, 'nftables');
  rmSync(host.path('/run/docker.pid'));
  const engine = await survey.look();
  t.deepEqual([engine.pid, engine.runningBackend], [undefined, 'nftables']);
});

test('a socket without a daemon is not asked: systemd would start one', async (t) => {
  const host = new Host(t);
  await host.serve(t, { '/version': { Version: '29', ApiVersion: '1.52' } });
  for (const pid of ['', 'junk', '0', '-1', '4194305']) {
    host.write('/run/docker.pid', pid);
    t.is((await host.survey().look()).pid, undefined, pid);
  }
});

for (const answer of ['hangs', '{', '[]', 'null', '{"ApiVersion":7}']) {
  test(`a daemon that answers ${answer} does not harm`, async (t) => {
    const host = new Host(t);
    await host.serve(t, { '/version': answer, '/info': answer });
    const engine = await host.survey().look(true);
    t.deepEqual([engine.pid, engine.runningBackend, engine.knownFlags], [undefined, undefined, undefined]);
  });
}

test('junk, pipes, directories and huge files are told, and nothing more', async (t) => {
  const host = new Host(t, { [UNIT]: '\0\u{ffff}=[', '/etc/docker/daemon.json': '[1,' });
  const first = await host.survey().look();
  t.is(first.problems.length, 1);
  rmSync(host.path('/etc/docker/daemon.json'));
  execFileSync('mkfifo', [host.path('/etc/docker/daemon.json')]);
  t.is((await host.survey().look()).problems.length, 1);
  rmSync(host.path('/etc/docker/daemon.json'));
  host.write('/etc/docker/daemon.json', ' '.repeat(2 << 20));
  t.is((await host.survey().look()).problems.length, 1);
  mkdirSync(host.path('/etc/systemd/system/docker.service'), { recursive: true });
  t.true((await host.survey().look()).problems.length > 1);
});

/**
 * The entry of `npm run demo`, `npm test`, `npm run bench`, `npm run faults`, `npm run chaos` and `npm run fuzz` on a
 * machine that has only Node and npm. Says what is missing, installs it, builds, and hands over; arguments, signals and
 * the exit status pass through. No dependencies, no TypeScript: it runs before either exists.
 */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants as os } from 'node:os';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const POLICY = '/usr/sbin/policy-rc.d';
const OLDEST_NODE = [20, 19];

/** Command, or absolute path of a file → Debian packages. */
const LAB = {
  etcd: 'etcd-server',
  etcdctl: 'etcd-client',
  ip: 'iproute2',
  bridge: 'iproute2',
  ping: 'iputils-ping',
  nsenter: 'util-linux',
  unshare: 'util-linux',
  setpriv: 'util-linux',
  mount: 'mount',
  hostname: 'hostname',
};
/** For the tests that kill at an exact system call. */
const TRACING = { strace: 'strace' };
const FIREWALL = { nft: 'nftables', iptables: 'iptables' };
const TLS = { openssl: 'openssl' };
/** For the benchmark's senders. */
const COMPILER = { cc: 'gcc libc6-dev' };
/** Load, what is on the wire, and a wire without offloads. */
const TRAFFIC = { iperf3: 'iperf3', tcpdump: 'tcpdump', ethtool: 'ethtool' };
const HEAVY = { 'systemd-analyze': 'systemd', 'systemd-nspawn': 'systemd-container', go: 'golang-go' };
/** It flushes what others made whenever it is reloaded. */
const FIREWALLD = { firewalld: 'firewalld', 'dbus-daemon': 'dbus' };
/** A real one, for hosts of tests; its containers' image, made of busybox; what a newer one needs to be built. */
const DOCKER = {
  dockerd: 'docker.io',
  containerd: 'containerd',
  runc: 'runc',
  busybox: 'busybox-static',
  'pkg-config': 'pkg-config',
  '/usr/include/seccomp.h': 'libseccomp-dev',
};

const MODES = {
  demo: { script: 'dist/deploy/demo.js', needs: () => LAB, root: true },
  faults: { script: 'dist/test/faults/faults.js', needs: () => ({ ...LAB, ...TLS }), root: true },
  bench: { script: 'dist/test/bench/bench.js', needs: () => ({ ...LAB, ...COMPILER, ...TRAFFIC }), root: true },
  chaos: { script: 'dist/test/chaos/chaos.js', needs: () => LAB, root: true },
  fuzz: { script: 'dist/test/fuzz/fuzz.js', needs: () => ({}), root: false },
  test: {
    script: 'dist/test/run.js',
    needs: (everything) => ({
      ...LAB,
      ...TLS,
      ...TRACING,
      ...FIREWALL,
      ...(everything ? { ...HEAVY, ...COMPILER, ...TRAFFIC, ...FIREWALLD, ...DOCKER } : {}),
    }),
    root: false,
  },
};

function say(text) {
  process.stderr.write(`${text}\n`);
}

function refuse(...lines) {
  say(lines.join('\n'));
  process.exit(1);
}

// A shell that became root by `su` has no sbin in its PATH; Go's own installer puts it where no PATH looks.
const wanted = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/go/bin'];
const path = (process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin').split(':');
process.env.PATH = [...path, ...wanted.filter((dir) => !path.includes(dir))].join(':');

function has(command) {
  if (command.startsWith('/')) return existsSync(command);
  return process.env.PATH.split(':').some((dir) => {
    try {
      accessSync(`${dir}/${command}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function run(command, args) {
  return spawnSync(command, args, { cwd: ROOT, stdio: ['ignore', 2, 2] }).status === 0;
}

/** Silent unless it fails: what apt says is of no interest otherwise. */
function runQuietly(command, args, env) {
  const result = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env } });
  if (result.status !== 0) say(`${command} ${args.join(' ')}\n${result.stdout}${result.stderr}`);
  return result.status === 0;
}

function checkMachine(mode) {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])) {
    refuse(`This is Node ${process.versions.node}; tartan needs ${OLDEST_NODE.join('.')} or newer.`);
  }
  if (process.platform !== 'linux')
    refuse('tartan programs the Linux kernel: run this on Linux (a virtual machine will do).');
  if (MODES[mode].root && process.getuid() !== 0) {
    refuse(
      'This makes network namespaces (its own; the network of this machine stays untouched), which only root may.',
      `Run it as root:  sudo npm run ${mode}`,
    );
  }
}

// --- npm packages

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** What npm noted when it installed, against what the lockfile asks for. Optional packages depend on the platform. */
function npmPackagesAreCurrent() {
  const asked = readJson(`${ROOT}package-lock.json`)?.packages ?? {};
  const present = readJson(`${ROOT}node_modules/.package-lock.json`)?.packages;
  if (present === undefined) return false;
  const same = (name) =>
    present[name]?.version === asked[name].version && present[name].integrity === asked[name].integrity;
  return Object.keys(asked).every((name) => name === '' || asked[name].optional === true || same(name));
}

function installNpmPackages() {
  if (npmPackagesAreCurrent()) return;
  say('npm packages are missing or out of date: npm ci');
  const args = ['ci', '--no-audit', '--no-fund'];
  const npm = process.env.npm_execpath;
  const ok = npm === undefined ? run('npm', args) : run(process.execPath, [npm, ...args]);
  if (!ok) refuse('npm ci failed; its own message is above.');
}

// --- Debian packages

/** Packages may start their services when installed: forbidden meanwhile, unless the machine has its own policy. */
function withoutStartingServices(action) {
  if (existsSync(POLICY)) return action();
  const remove = () => rmSync(POLICY, { force: true });
  process.once('exit', remove);
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return action();
  } finally {
    remove();
    process.off('exit', remove);
  }
}

function aptInstall(packages) {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const args = ['install', '-y', '-qq', '--no-install-recommends', ...packages];
  return withoutStartingServices(() => {
    const known = spawnSync('apt-cache', ['show', ...packages], { stdio: 'ignore' }).status === 0;
    if (known && runQuietly('apt-get', args, env)) return true;
    return runQuietly('apt-get', ['update', '-qq'], env) && runQuietly('apt-get', args, env);
  });
}

/** Services of packages that enable them for the next boot; nobody asked for them on this machine. */
const SERVICES = {
  'etcd-server': ['etcd.service'],
  'docker.io': ['docker.service', 'docker.socket'],
  containerd: ['containerd.service'],
  firewalld: ['firewalld.service'],
};

function leaveServicesOff(packages) {
  if (!existsSync('/run/systemd/system')) return;
  const services = [...new Set(packages.flatMap((name) => SERVICES[name] ?? []))];
  for (const service of services) {
    if (run('systemctl', ['disable', '--quiet', service])) say(`(${service} is left switched off)`);
  }
}

function installDebianPackages(mode, args) {
  const strict = process.env.CI === 'true' || args.includes('--all');
  const needs = MODES[mode].needs(strict);
  const missing = Object.keys(needs).filter((command) => !has(command));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.flatMap((command) => needs[command].split(' ')))];
  say(`Missing on this machine: ${missing.join(', ')}`);
  const problem = cannotInstall();
  if (problem !== undefined) {
    if (mode === 'test' && !strict) return say(`${problem}; tests that need them are skipped.`);
    refuse(`${problem}. Install them (Debian names: ${packages.join(' ')}), then run this again.`);
  }
  say(`Installing Debian packages: ${packages.join(' ')}`);
  const ok = aptInstall(packages);
  leaveServicesOff(packages);
  if (ok) return;
  if (mode === 'test' && !strict) return say('apt-get failed; tests that need them are skipped.');
  refuse(`apt-get failed; its own message is above. Needed: ${packages.join(' ')}`);
}

function cannotInstall() {
  if (process.getuid() !== 0) return 'Only root can install packages';
  return has('apt-get') ? undefined : 'There is no apt-get here to install them';
}

// --- build

/** Output whose source is gone would still be run as a test. */
function pruneOutput() {
  if (!existsSync(`${ROOT}dist`)) return;
  for (const name of readdirSync(`${ROOT}dist`, { recursive: true, encoding: 'utf8' })) {
    const source = /^(.*)\.js(\.map)?$/.exec(name)?.[1];
    if (source !== undefined && !existsSync(`${ROOT}${source}.ts`)) rmSync(`${ROOT}dist/${name}`);
  }
}

function build() {
  pruneOutput();
  const steps = [['node_modules/typescript/bin/tsc', '-p', '.'], ['dist/deploy/bundle.js']];
  if (!steps.every((args) => run(process.execPath, args))) refuse('The build failed; see above.');
}

// --- hand over

let child;

function handOver(script, args) {
  child = spawn(process.execPath, ['--enable-source-maps', `${ROOT}${script}`, ...args], { stdio: 'inherit' });
  child.once('error', (error) => refuse(error.message));
  child.once('exit', (status, signal) => process.exit(status ?? 128 + os.signals[signal]));
}

// What runs before the child blocks: a signal that came meanwhile is delivered after it, to the child.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) {
  process.on(signal, () => (child === undefined ? process.exit(128 + os.signals[signal]) : child.kill(signal)));
}

const [mode, ...args] = process.argv.slice(2);
if (MODES[mode] === undefined) refuse(`usage: node deploy/bootstrap.mjs ${Object.keys(MODES).join('|')} [ARGUMENTS]`);
checkMachine(mode);
installDebianPackages(mode, args);
installNpmPackages();
build();
handOver(MODES[mode].script, args);

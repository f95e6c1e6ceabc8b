import test from 'ava';
import fc from 'fast-check';
import { type DockerOptsFlags, parseDockerOptsFlags } from '../../../config/docker-opts-flags.ts';

const DEFAULTS: DockerOptsFlags = {
  flannelFile: '/run/flannel/subnet.env',
  dockerFile: '/run/docker_opts.env',
  individual: true,
  combined: true,
  key: 'DOCKER_OPTS',
  ipMasq: true,
  format: 'env',
};

const cases: readonly (readonly [argv: readonly string[], flags: Partial<DockerOptsFlags>])[] = [
  [[], {}],
  [['-i'], { combined: false }],
  [['-c'], { individual: false }],
  [['-ic'], {}],
  [['-m'], { ipMasq: false }],
  [['-icm', '-kX'], { ipMasq: false, key: 'X' }],
  [['-f', '/a', '-d', '/b', '-k', 'CUSTOM_KEY'], { flannelFile: '/a', dockerFile: '/b', key: 'CUSTOM_KEY' }],
  [['-f/a', '-d', '-'], { flannelFile: '/a', dockerFile: '-' }],
  [['--format=env'], {}],
  [['--format', 'daemon.json'], { format: 'daemon.json', dockerFile: '/etc/docker/daemon.json' }],
  [['--format=daemon.json', '-d', '/x', '-m'], { format: 'daemon.json', dockerFile: '/x', ipMasq: false }],
];

for (const [argv, flags] of cases) {
  test(`docker opts ${argv.join(' ')}`, (t) => {
    t.deepEqual(parseDockerOptsFlags(argv), { ok: true, flags: { ...DEFAULTS, ...flags }, wantsHelp: false });
  });
}

for (const argv of [
  ['-x'],
  ['-f'],
  ['-k', 'A B'],
  ['-k', ''],
  ['stray'],
  ['--key=X'],
  ['--format'],
  ['--format=yaml'],
  ['--format=daemon.json', '-i'],
]) {
  test(`docker opts ${argv.join(' ')} is refused`, (t) => t.false(parseDockerOptsFlags(argv).ok));
}

for (const argv of [['-h'], ['-?'], ['--help'], ['-help'], ['-x', '-h']]) {
  test(`docker opts ${argv.join(' ')} asks for help`, (t) => {
    const result = parseDockerOptsFlags(argv);
    t.true(result.ok && result.wantsHelp);
  });
}

test('no argument makes it throw', (t) => {
  fc.assert(fc.property(fc.array(fc.string()), (argv) => t.is(typeof parseDockerOptsFlags(argv).ok, 'boolean')));
});

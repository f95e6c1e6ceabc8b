import test from 'ava';
import fc from 'fast-check';
import { commandWords, parseEnvironmentFile, parseUnit, splitWords } from '../../../../agent/docker/unit-file.ts';

const unitOf = (...texts: readonly string[]) => parseUnit(texts.map((text, at) => ({ path: `/${at}`, text })));

const DEBIANS = `[Unit]
After=network-online.target docker.socket firewalld.service containerd.service
[Service]
EnvironmentFile=-/etc/default/docker
ExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS
`;

const OURS = `[Unit]
After=tartan.service
[Service]
EnvironmentFile=/run/flannel/docker
Environment=DOCKER_OPTS=
ExecStart=
ExecStart=dockerd -H fd:// $DOCKER_OPTS $DOCKER_NETWORK_OPTIONS
`;

test('drop-ins add to lists and replace the command', (t) => {
  const unit = unitOf(DEBIANS, OURS);
  t.is(unit.execStart, 'dockerd -H fd:// $DOCKER_OPTS $DOCKER_NETWORK_OPTIONS');
  t.is(unit.execStartFrom, '/1');
  t.true(unit.after.has('tartan.service') && unit.after.has('docker.socket'));
  t.deepEqual(unit.environmentFiles, [
    { path: '/etc/default/docker', isOptional: true },
    { path: '/run/flannel/docker', isOptional: false },
  ]);
  t.deepEqual([...unit.environment], [['DOCKER_OPTS', '']]);
});

test('an empty value takes back what was there', (t) => {
  const unit = unitOf(DEBIANS, '[Service]\nExecStart=\nEnvironmentFile=\n[Unit]\nAfter=\n');
  t.is(unit.execStart, undefined);
  t.deepEqual([unit.environmentFiles.length, unit.after.size], [0, 0]);
});

test('a line may go on in the next, with comments between', (t) => {
  const unit = unitOf('[Service]\nExecStart=/usr/bin/dockerd \\\n# why\n  --mtu=1450 \\\n; and\n  -H fd://');
  t.deepEqual(commandWords(unit.execStart ?? '', new Map()), ['/usr/bin/dockerd', '--mtu=1450', '-H', 'fd://']);
});

test('keys of other sections are not those', (t) => {
  t.is(unitOf('[Unit]\nExecStart=/bin/a\n[Install]\nAfter=x\n').execStart, undefined);
});

const VARIABLES = new Map([
  ['OPTS', ' --mtu=1450  --bip="10.5.1.1/24"'],
  ['EMPTY', ''],
]);

const commands: readonly (readonly [command: string, words: readonly string[]])[] = [
  ['/usr/bin/dockerd $OPTS', ['/usr/bin/dockerd', '--mtu=1450', '--bip=10.5.1.1/24']],
  ['/usr/bin/dockerd \x24{OPTS}', ['/usr/bin/dockerd', ' --mtu=1450  --bip="10.5.1.1/24"']],
  ['dockerd $EMPTY $UNSET \x24{EMPTY} end', ['dockerd', '', 'end']],
  ['-/usr/bin/dockerd a', ['/usr/bin/dockerd', 'a']],
  ['@/usr/bin/dockerd called a', ['/usr/bin/dockerd', 'a']],
  [':dockerd $OPTS', ['dockerd', '$OPTS']],
  ['dockerd --label "a b" \'c "d\' e\\ f', ['dockerd', '--label', 'a b', 'c "d', 'e f']],
  ['dockerd $$HOME %%n', ['dockerd', '$HOME', '%n']],
  ['', []],
];

for (const [command, words] of commands) {
  test(`the words of: ${command || 'nothing'}`, (t) => t.deepEqual(commandWords(command, VARIABLES), words));
}

test('an environment file has comments, quotes and what it likes', (t) => {
  const variables = parseEnvironmentFile('# no\n\nA=1\nB=" --x=1 --y"\nC=\'d e\'\njunk\n');
  t.deepEqual(
    [...variables],
    [
      ['A', '1'],
      ['B', ' --x=1 --y'],
      ['C', 'd e'],
    ],
  );
});

test('nothing makes it throw', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'[]=\\"\'$\n {}-@#aA') }), (text) => {
      commandWords(parseUnit([{ path: '/', text }]).execStart ?? text, VARIABLES);
      return splitWords(text).every((word) => typeof word === 'string');
    }),
  );
  t.pass();
});

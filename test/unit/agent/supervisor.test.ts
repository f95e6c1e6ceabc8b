import test from 'ava';
import { holdersIn } from '../../../agent/running-agent.ts';
import { supervisorIn } from '../../../agent/supervisor.ts';

const ID = '3f4ab1c09d'.repeat(7).slice(0, 64);

const GROUPS: readonly [string, string, RegExp | undefined][] = [
  [
    'a unit',
    '0::/system.slice/tartan.service\n',
    /^systemd unit tartan\.service.*: systemctl disable --now tartan\.service$/,
  ],
  ['a unit, cgroup v1', '12:cpu:/\n1:name=systemd:/system.slice/tartan.service\n0::/\n', /unit tartan\.service/],
  [
    "a user's unit",
    '0::/user.slice/user-1000.slice/user@1000.service/app.slice/t.service',
    /systemctl --user disable --now t\./,
  ],
  ['Docker', `0::/system.slice/docker-${ID}.scope\n`, /^container 3f4ab1c09d3f,/],
  [
    'Kubernetes',
    `0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-${ID}.scope\n`,
    /^container 3f4ab1c09d3f,.*pod/,
  ],
  ['a login session', '0::/user.slice/user-0.slice/session-3.scope\n', undefined],
  ["a terminal of a user's session", '0::/user.slice/user-0.slice/user@0.service/app.slice/term.scope\n', undefined],
  ["a user's manager itself", '0::/user.slice/user-0.slice/user@0.service\n', undefined],
  ['a namespace of its own', '0::/\n', undefined],
  ['nothing', '', undefined],
];

for (const [name, text, wanted] of GROUPS) {
  test(`who supervises a process is told by its control group: ${name}`, (t) => {
    const found = supervisorIn(text);
    if (wanted) t.regex(found ?? '', wanted);
    else t.is(found, undefined);
  });
}

test('who holds a lock is told by its inode', (t) => {
  const table = [
    '1: FLOCK  ADVISORY  WRITE 4711 08:01:5678 0 EOF',
    '1: -> FLOCK  ADVISORY  WRITE 4712 08:01:5678 0 EOF',
    '2: POSIX  ADVISORY  WRITE 4713 08:01:5678 0 EOF',
    '3: FLOCK  ADVISORY  WRITE 4714 08:01:56780 0 EOF',
    '4: FLOCK  ADVISORY  WRITE -1 08:01:5678 0 EOF',
    '5: FLOCK  ADVISORY  WRITE 4715 00:2a:5678 0 EOF',
    '',
  ].join('\n');
  t.deepEqual(holdersIn(table, '5678'), [4711, 4715]);
  t.deepEqual(holdersIn('', '5678'), []);
});

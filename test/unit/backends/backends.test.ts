import test from 'ava';
import { createBackend, createBackendHere } from '../../../backends/backends.ts';
import { backendOf, problemsOf, UNDERLAY, V4 } from './values.ts';

for (const type of ['vxlan', 'VXLAN', 'Host-GW', 'alloc', 'UDP']) {
  test(`${type} is found whatever its case`, (t) => {
    t.is(backendOf(createBackend(type, {}, V4, UNDERLAY)).type, type.toLowerCase());
  });
}

for (const type of ['IPIP', 'wireguard', 'ipsec', 'extension', 'tencent-vpc']) {
  test(`${type} is not offered`, (t) => {
    const problems = problemsOf(createBackend(type, {}, V4, UNDERLAY));
    t.is(problems.length, 1);
    t.true(problems[0]?.includes(`"${type.toLowerCase()}" is not offered by this version`), problems[0]);
  });
}

test('an unknown type is a problem that names the known ones', (t) => {
  for (const type of ['', 'vx lan', 'constructor']) {
    const [problem] = problemsOf(createBackend(type, {}, V4, UNDERLAY));
    t.true(problem?.includes('known: alloc, host-gw, udp, vxlan'), problem);
  }
});

test("the backend's own problems come through", (t) => {
  t.is(problemsOf(createBackend('vxlan', { VNI: 'x' }, V4, UNDERLAY)).length, 1);
});

test('the kernel is asked for vxlan devices only where the config leaves it to it', async (t) => {
  for (const [type, config, isAsked] of [
    ['vxlan', {}, true],
    ['VXLAN', { mode: 'AUTO' }, true],
    ['vxlan', { Mode: 'kernel' }, false],
    ['vxlan', { Mode: 'user' }, false],
    ['udp', {}, false],
    ['host-gw', {}, false],
  ] as const) {
    let asked = 0;
    const kernel = { knowsVxlan: async () => ++asked === 0 };
    const { userSpace, note } = backendOf(await createBackendHere(kernel, type, config, V4, UNDERLAY));
    t.is(asked, isAsked ? 1 : 0);
    t.is(note !== undefined, isAsked, 'and what follows is said');
    t.is(userSpace !== undefined, isAsked || type === 'udp' || JSON.stringify(config).includes('user'));
  }
});

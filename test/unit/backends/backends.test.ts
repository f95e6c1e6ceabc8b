import test from 'ava';
import { createBackend } from '../../../backends/backends.ts';
import { backendOf, problemsOf, UNDERLAY, V4 } from './values.ts';

for (const type of ['vxlan', 'VXLAN', 'Host-GW', 'alloc']) {
  test(`${type} is found whatever its case`, (t) => {
    t.is(backendOf(createBackend(type, {}, V4, UNDERLAY)).type, type.toLowerCase());
  });
}

for (const type of ['udp', 'IPIP', 'wireguard', 'ipsec', 'extension', 'tencent-vpc']) {
  test(`${type} is not offered`, (t) => {
    const problems = problemsOf(createBackend(type, {}, V4, UNDERLAY));
    t.is(problems.length, 1);
    t.true(problems[0]?.includes(`"${type.toLowerCase()}" is not offered by this version`), problems[0]);
  });
}

test('an unknown type is a problem that names the known ones', (t) => {
  for (const type of ['', 'vx lan', 'constructor']) {
    const [problem] = problemsOf(createBackend(type, {}, V4, UNDERLAY));
    t.true(problem?.includes('known: alloc, host-gw, vxlan'), problem);
  }
});

test("the backend's own problems come through", (t) => {
  t.is(problemsOf(createBackend('vxlan', { VNI: 'x' }, V4, UNDERLAY)).length, 1);
});

import test from 'ava';
import { type ConfigChange, configProblem, judgeConfig } from '../../../agent/config-change.ts';
import { type NetworkConfig, parseNetworkConfig } from '../../../config/network-config.ts';

function parsed(text: string): NetworkConfig {
  const result = parseNetworkConfig(text);
  if (!result.ok) throw new TypeError(result.problems.join());
  return result.config;
}

const VXLAN = '"Backend":{"Type":"vxlan"}';
const running = parsed(`{"Network":"10.5.0.0/17",${VXLAN}}`);

test('the same text is no change', (t) => {
  t.is(judgeConfig(running, running.text).kind, 'none');
});

test('a widened network is followed', (t) => {
  const change = judgeConfig(running, `{"Network":"10.5.0.0/16",${VXLAN}}`);
  t.is(change.kind, 'follow');
  t.is(configProblem(change), undefined);
});

test('other spelling only: followed, with nothing to tell', (t) => {
  const change = judgeConfig(running, `{ "network": "10.5.0.0/17", ${VXLAN} }`);
  t.is(change.kind === 'follow' && change.changes.length, 0);
});

const NOT_FOLLOWED: readonly [string, ConfigChange['kind'], string | undefined][] = [
  ['gone', 'gone', undefined],
  ['no JSON', 'unusable', '{'],
  ['breaks a rule', 'unusable', `{"Network":"10.5.0.0/30",${VXLAN}}`],
  ['another backend', 'needs-restart', '{"Network":"10.5.0.0/17","Backend":{"Type":"host-gw"}}'],
  ['another VNI', 'needs-restart', '{"Network":"10.5.0.0/17","Backend":{"Type":"vxlan","VNI":7}}'],
  ['widened, and another VNI', 'needs-restart', '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":7}}'],
  ['moved', 'needs-restart', `{"Network":"10.6.0.0/16",${VXLAN}}`],
];
for (const [what, kind, text] of NOT_FOLLOWED) {
  test(`not followed, and the operator is told: ${what}`, (t) => {
    const change = judgeConfig(running, text);
    t.is(change.kind, kind);
    t.truthy(configProblem(change));
  });
}

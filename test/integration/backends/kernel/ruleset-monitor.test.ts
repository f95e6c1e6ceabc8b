import test from 'ava';
import { rulesetWatch } from '../../../../backends/kernel/ruleset-monitor.ts';
import { silentLog } from '../../../../config/log.ts';
import { eventually } from '../../../support/eventually.ts';
import { enterFreshNamespace, run } from '../../../support/netns.ts';

enterFreshNamespace();

test('each transaction is told once, however many rules it has', async (t) => {
  let told = 0;
  const unwatch = rulesetWatch(silentLog)(() => told++);
  if (!unwatch) return t.fail('the kernel tells nothing');
  t.teardown(unwatch);
  run('nft add table ip first');
  await eventually('the table is told', () => told === 1);
  const rules = Array.from({ length: 2000 }, () => 'add rule ip first c counter');
  run(`nft -f - <<'END'\nadd chain ip first c\n${rules.join('\n')}\nEND`);
  await eventually('the rules are told', () => told > 1);
  run('iptables-nft -A FORWARD -j ACCEPT');
  await eventually('a rule of iptables is told', () => told > 2);
  return t.is(told, 3);
});

import test from 'ava';
import { SetElements } from '../../../../backends/kernel/set-elements.ts';
import { silentLog } from '../../../../config/log.ts';
import { ip } from '../../../support/addresses.ts';
import { enterFreshNamespace, run } from '../../../support/netns.ts';

enterFreshNamespace();

function elements(set: string): string[] {
  const listing = run(`nft list set inet tartan-test ${set}`);
  return (
    /elements = \{([^}]*)\}/
      .exec(listing)?.[1]
      ?.split(',')
      .map((one) => one.trim().replace(/ .*/, '')) ?? []
  );
}

test('addresses of either family are in the set when the call returns, with a counter each; twice is once', (t) => {
  run('nft add table inet tartan-test');
  run("nft 'add set inet tartan-test peers { type ipv4_addr; counter; }'");
  run("nft 'add set inet tartan-test peers6 { type ipv6_addr; counter; }'");
  const sets = new SetElements(silentLog);
  t.teardown(() => sets.close());
  sets.add('tartan-test', 'peers', [ip('192.0.2.1'), ip('198.51.100.255')]);
  sets.add('tartan-test', 'peers', [ip('192.0.2.1')]);
  sets.add('tartan-test', 'peers6', [ip('fd00::1')]);
  t.deepEqual(elements('peers').toSorted(), ['192.0.2.1', '198.51.100.255']);
  t.deepEqual(elements('peers6'), ['fd00::1']);
  t.regex(run('nft list set inet tartan-test peers'), /192\.0\.2\.1 counter packets 0 bytes 0/);
  const many = Array.from({ length: 1_000 }, (_, i) => ip(`10.0.${i >> 8}.${i & 255}`));
  sets.add('tartan-test', 'peers', many);
  t.is(elements('peers').length, 1_002);
});

test('where there is no such table nothing happens', (t) => {
  const sets = new SetElements(silentLog);
  t.teardown(() => sets.close());
  t.notThrows(() => sets.add('tartan-nowhere', 'peers', [ip('192.0.2.1')]));
  sets.close();
  t.notThrows(() => sets.add('tartan-nowhere', 'peers', [ip('192.0.2.1')]));
});

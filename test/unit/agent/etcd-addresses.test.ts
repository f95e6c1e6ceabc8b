import test from 'ava';
import { EtcdAddresses } from '../../../agent/etcd-addresses.ts';
import { settle, VirtualClock } from '../../fakes/clock.ts';
import { ip } from '../../support/addresses.ts';

test('addresses are known at once, names when they are resolved; each once', async (t) => {
  const clock = new VirtualClock();
  const stop = new AbortController();
  const records: Record<string, string[]> = { 'etcd.example': ['192.0.2.7', '192.0.2.5', 'fd00::7'] };
  const asked: string[] = [];
  const endpoints = ['https://192.0.2.5:2379', 'https://[fd00::5]:2379', 'https://etcd.example:2379', 'not a URL'];
  const addresses = new EtcdAddresses(endpoints, async (host) => {
    asked.push(host);
    const found = records[host];
    if (found === undefined) throw new Error('ENOTFOUND');
    return found;
  });
  let changes = 0;
  addresses.onChange = () => void changes++;
  t.deepEqual(addresses.current, [ip('192.0.2.5'), ip('fd00::5')]);
  addresses.follow(clock, stop.signal).catch(() => undefined);
  await settle();
  t.deepEqual(addresses.current, [ip('192.0.2.5'), ip('fd00::5'), ip('192.0.2.7'), ip('fd00::7')]);
  records['etcd.example'] = ['fd00::7', '192.0.2.7', '192.0.2.5'];
  await clock.advance(600_000);
  t.is(changes, 1, 'the order tells nothing');
  delete records['etcd.example'];
  await clock.advance(60_000);
  t.is(addresses.current.length, 4, 'a resolver that fails takes nothing away');
  records['etcd.example'] = ['192.0.2.9'];
  await clock.advance(60_000);
  t.deepEqual(addresses.current, [ip('192.0.2.5'), ip('fd00::5'), ip('192.0.2.9')]);
  t.is(changes, 2);
  t.deepEqual([...new Set(asked)], ['etcd.example']);
  stop.abort();
});

test('without names nobody is asked', async (t) => {
  const clock = new VirtualClock();
  const stop = new AbortController();
  const addresses = new EtcdAddresses(['http://127.0.0.1:2379'], () => Promise.reject(t.fail('asked')));
  addresses.follow(clock, stop.signal).catch(() => undefined);
  await clock.advance(3_600_000);
  t.deepEqual(addresses.current, [ip('127.0.0.1')]);
  stop.abort();
});

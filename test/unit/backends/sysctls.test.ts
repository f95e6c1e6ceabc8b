import test from 'ava';
import { type Sysctl, Sysctls } from '../../../backends/sysctls.ts';
import { silentLog } from '../../../config/log.ts';
import { VirtualClock } from '../../fakes/clock.ts';

const FORWARD: Sysctl = { name: 'net/ipv4/ip_forward', value: '1', isHosts: true };
const RA: Sysctl = { name: 'net/ipv6/conf/flannel.1/accept_ra', value: '0', isHosts: false };

class Rig {
  readonly clock = new VirtualClock();
  readonly values = new Map([
    [FORWARD.name, '0'],
    [RA.name, '1'],
  ]);
  /** What was written down, and what was written. */
  readonly log: string[] = [];
  refusal: string | undefined;
  readonly sysctls: Sysctls;
  readonly #ending = new AbortController();
  readonly #ended: Promise<unknown>;

  constructor(wanted: readonly Sysctl[] = [FORWARD, RA]) {
    this.sysctls = new Sysctls({
      ...{ wanted, devices: ['flannel.1'], resyncSeconds: 60, clock: this.clock, log: silentLog },
      beforeChange: async ({ name }, found) => {
        await undefined;
        this.log.push(`${name} was ${found}`);
      },
      files: {
        read: (name) => this.values.get(name),
        write: (name, value) => {
          if (this.refusal) return { failed: this.refusal };
          this.log.push(`${name}=${value}`);
          this.values.set(name, value);
          return 'changed';
        },
      },
    });
    this.#ended = this.sysctls.run(this.#ending.signal).catch((reason: unknown) => reason);
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#ended;
  }
}

test('what a sysctl was is written down before it is changed; what is right is left alone', async (t) => {
  const rig = new Rig();
  t.teardown(() => rig.stop());
  await rig.sysctls.look();
  const all = [`${FORWARD.name} was 0`, `${FORWARD.name}=1`, `${RA.name} was 1`, `${RA.name}=0`];
  t.deepEqual(rig.log, all);
  await rig.sysctls.look();
  t.deepEqual(rig.log, all);
});

test('an event about it makes it be looked at, at once; another one does not', async (t) => {
  const rig = new Rig();
  t.teardown(() => rig.stop());
  await rig.sysctls.look();
  rig.values.set(FORWARD.name, '0');
  rig.sysctls.hear({ verb: 'set', sysctlsOf: 'veth7' });
  rig.sysctls.hear({ verb: 'set', link: 'eth0' });
  await rig.clock.advance(10);
  t.is(rig.values.get(FORWARD.name), '0');
  rig.sysctls.hear({ verb: 'set', sysctlsOf: 'all' });
  await rig.clock.advance(0);
  t.is(rig.values.get(FORWARD.name), '1');
  rig.values.set(RA.name, '2');
  rig.sysctls.hear({ verb: 'set', link: 'flannel.1' });
  await rig.clock.advance(0);
  t.is(rig.values.get(RA.name), '0');
});

test('without an event the resync puts it right', async (t) => {
  const rig = new Rig();
  t.teardown(() => rig.stop());
  await rig.sysctls.look();
  rig.values.set(RA.name, '2');
  await rig.clock.advance(66_000);
  t.is(rig.values.get(RA.name), '0');
});

test('after five repairs within a minute it waits, longer each time, and says so', async (t) => {
  const rig = new Rig([FORWARD]);
  t.teardown(() => rig.stop());
  await rig.sysctls.look();
  rig.log.length = 0;
  for (let second = 0; second < 60; second += 1) {
    rig.values.set(FORWARD.name, '0');
    rig.sysctls.hear({ verb: 'set', sysctlsOf: 'all' });
    await rig.clock.advance(1_000);
  }
  const writes = rig.log.filter((line) => line.endsWith('=1')).length;
  t.true(writes > 5 && writes < 15, String(writes));
  t.regex(rig.sysctls.troubles()[0]?.error ?? '', /another program keeps changing it.*was 0/);
  await rig.clock.advance(100_000);
  t.deepEqual(rig.sysctls.troubles(), []);
  t.is(rig.values.get(FORWARD.name), '1');
});

test('what can not be set is a trouble, tried again, until it can or is right by itself', async (t) => {
  const rig = new Rig([FORWARD]);
  t.teardown(() => rig.stop());
  rig.refusal = 'EROFS: read-only file system';
  await rig.sysctls.look();
  await rig.clock.advance(10_000);
  const [trouble] = rig.sysctls.troubles();
  t.is(trouble?.object, 'sysctl net.ipv4.ip_forward');
  t.is(trouble?.error, 'EROFS: read-only file system');
  rig.refusal = undefined;
  await rig.clock.advance(60_000);
  t.deepEqual(rig.sysctls.troubles(), []);
  t.is(rig.values.get(FORWARD.name), '1');
});

test('a sysctl that is not there, as its device is not, is nothing to tell', async (t) => {
  const rig = new Rig([RA]);
  t.teardown(() => rig.stop());
  rig.values.delete(RA.name);
  await rig.sysctls.look();
  t.deepEqual(rig.sysctls.troubles(), []);
  t.deepEqual(rig.log, []);
});

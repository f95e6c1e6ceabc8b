import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { EtcdConnection } from '../../../agent/etcd-connection.ts';
import { parseCommandLine } from '../../../config/command-line.ts';
import { type LogFields, silentLog } from '../../../config/log.ts';
import { VirtualClock } from '../../fakes/clock.ts';
import { eventually } from '../../support/eventually.ts';
import { makePki } from '../../support/pki.ts';

const LOOK_MS = 10_000;

type Files = Readonly<Record<string, Buffer | string>>;

/** A secret volume as kubelet writes it: the files lie behind the link `..data`, which is swapped at once. */
class Volume {
  readonly #dir: string;
  #count = 0;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async swap(files: Files): Promise<void> {
    this.#count += 1;
    const inside = `data-${this.#count}`;
    await mkdir(join(this.#dir, inside));
    for (const [name, text] of Object.entries(files)) await writeFile(join(this.#dir, inside, name), text);
    await symlink(inside, join(this.#dir, '..tmp'));
    await rename(join(this.#dir, '..tmp'), this.path());
  }

  path(name = ''): string {
    return join(this.#dir, '..data', name);
  }
}

async function follow(t: ExecutionContext, volume: Volume) {
  const flags = ['ca', 'cert', 'key'].map((name) => `--etcd-${name}file=${volume.path(name)}`);
  const parsed = parseCommandLine(['run', '--etcd-endpoints=https://127.0.0.1:1', ...flags], {});
  if (!parsed.ok || parsed.invocation.command !== 'run') throw new Error('no options');
  const connection = await EtcdConnection.open(parsed.invocation.options);
  t.teardown(() => connection.store.close());
  const clock = new VirtualClock();
  const stop = new AbortController();
  const problems: (string | undefined)[] = [];
  const taken: LogFields[] = [];
  const log = { ...silentLog, info: (_: string, fields: LogFields = {}) => void taken.push(fields) };
  const onProblem = (text: string | undefined): void => void problems.push(text);
  connection.followFiles({ clock, log, signal: stop.signal, onProblem }).catch(() => undefined);
  t.teardown(() => stop.abort());
  /** Lets it look at the files once. */
  const look = async (): Promise<void> => {
    await clock.advance(LOOK_MS);
    await eventually('it has looked', () => clock.sleeping === 1);
  };
  return { look, problems, taken };
}

test('files that are replaced are taken over; what does not fit is told after a second look, and never used', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'tartan-certificates-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const pki = await makePki(t);
  const one = await pki.client('one');
  const two = await pki.client('two');
  const { ca } = pki;
  const volume = new Volume(dir);
  await volume.swap({ ca, cert: one.cert, key: one.key });
  const { look, problems, taken } = await follow(t, volume);

  await look();
  await volume.swap({ ca, cert: one.cert, key: one.key });
  await look();
  t.deepEqual([problems, taken], [[], []], 'the same text behind another link is no change');

  await volume.swap({ ca, cert: two.cert, key: two.key });
  await look();
  t.like(taken, [{ cert: volume.path('cert'), ca: volume.path('ca') }]);
  t.regex(String(taken[0]?.['validUntil']), /GMT$/);

  const odd: readonly [Files, RegExp][] = [
    [{ ca, cert: one.cert, key: two.key }, /key in .*\/key does not belong to the certificate in .*\/cert/],
    [{ ca, cert: one.cert.subarray(0, 200), key: one.key }, /\/cert is damaged or half written/],
    [{ ca: Buffer.concat([ca, ca.subarray(0, 200)]), cert: one.cert, key: one.key }, /\/ca is damaged or half written/],
    [{ ca: '', cert: one.cert, key: one.key }, /\/ca holds no certificate/],
    [{ ca, cert: one.cert, key: one.key.subarray(0, 100) }, /\/key is damaged or half written/],
    [{ ca, cert: one.cert }, /--etcd-keyfile: cannot read .*\/key/],
  ];
  for (const [files, expected] of odd) {
    problems.length = 0;
    await volume.swap(files);
    await look();
    t.deepEqual(problems, [], 'it may be in the middle of a change');
    await look();
    await look();
    t.is(problems.length, 1);
    t.regex(problems[0] ?? '', expected);
    t.regex(problems[0] ?? '', /the former certificates stay in use$/);
    await volume.swap({ ca, cert: two.cert, key: two.key });
    await look();
    t.deepEqual(problems.slice(1), [undefined], 'mended');
  }
  t.is(taken.length, 1);
  await volume.swap({ ca, cert: one.cert, key: two.key });
  await look();
  await volume.swap({ ca, cert: one.cert, key: one.key });
  await look();
  t.is(taken.length, 2, 'one file was written after the other');
});

import { readFileSync } from 'node:fs';
import test from 'ava';
import { runDockerOpts } from '../../../../agent/commands/docker-opts.ts';
import { parseCommandLine } from '../../../../config/command-line.ts';

const SUBNET_ENV = readFileSync('test/golden/docker-opts/subnet.env', 'utf8');
const EXPECTED = readFileSync('test/golden/docker-opts/none.env', 'utf8');

/** Runs the command over files held in a map. */
async function run(argv: readonly string[], files: ReadonlyMap<string, string>) {
  const parsed = parseCommandLine(['docker', 'opts', ...argv], {});
  if (!parsed.ok) throw new TypeError(parsed.problems.join('; '));
  const written = new Map<string, string>();
  const said = { stdout: '', stderr: '' };
  const status = await runDockerOpts(parsed.invocation, {
    readFile: (path) => Promise.resolve(files.get(path)),
    writeFile: (path, text) => Promise.resolve(void written.set(path, text)),
    env: {},
    stdout: (text) => {
      said.stdout += text;
    },
    stderr: (text) => {
      said.stderr += text;
    },
  });
  return { status, written, ...said };
}

test('it reads the subnet file and writes the options file', async (t) => {
  const { status, written, stdout, stderr } = await run([], new Map([['/run/flannel/subnet.env', SUBNET_ENV]]));
  t.deepEqual([status, stdout, stderr], [0, '', '']);
  t.deepEqual([...written], [['/run/docker_opts.env', EXPECTED]]);
});

test('its files are chosen by -f and -d', async (t) => {
  const { written } = await run(['-f', '/in', '-d/out'], new Map([['/in', SUBNET_ENV]]));
  t.deepEqual([...written], [['/out', EXPECTED]]);
});

test('it writes to standard output for -', async (t) => {
  const { written, stdout } = await run(['-f', '/in', '-d', '-'], new Map([['/in', SUBNET_ENV]]));
  t.is(written.size, 0);
  t.is(stdout, EXPECTED);
});

test('a subnet file that makes no sense is left alone, and so is the options file', async (t) => {
  const { status, written, stderr } = await run(['-f', '/in'], new Map([['/in', 'FLANNEL_IPMASQ=maybe\n']]));
  t.is(status, 1);
  t.is(written.size, 0);
  t.not(stderr, '');
});

test('any other invocation is refused', async (t) => {
  const parsed = parseCommandLine([], {});
  if (!parsed.ok) throw new TypeError('the defaults are refused');
  const io = { readFile: async () => undefined, writeFile: async () => {}, env: {}, stdout() {}, stderr() {} };
  await t.throwsAsync(runDockerOpts(parsed.invocation, io), { instanceOf: TypeError });
});

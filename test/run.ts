/**
 * `npm test [-- --all] [PATTERN ...]`: linters, unit tests side by side, then everything that starts hosts and etcd in two
 * lanes, in each of which one file follows the other: most of them wait most of the time. PATTERN picks test files by a
 * part of their path. With --all or CI=true a skip is a failure.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { obtainDocker29 } from './support/docker-engine.ts';
import { obtainFlanneld } from './support/flanneld.ts';
import { searchPath } from './support/process.ts';
import { TapReader, type TapResult } from './support/tap.ts';
import { fileOf } from './support/test-file.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SIGNS = { passed: '✔', failed: '✘', skipped: '-', todo: '-' } as const;

interface Wish {
  readonly all: boolean;
  readonly patterns: readonly string[];
}

const results: TapResult[] = [];
/** Failed at first, passed when run again. */
const unstable: TapResult[] = [];
const running = new Set<ChildProcess>();

function record(result: TapResult): void {
  results.push(result);
  const why = result.verdict === 'skipped' ? ` (needs ${result.needs})` : '';
  console.log(`${SIGNS[result.verdict]} ${result.title}${why}`);
  if (result.verdict === 'failed') console.log(result.details.map((line) => `    ${line}`).join('\n'));
}

function parse(args: readonly string[]): Wish {
  const unknown = args.filter((arg) => arg.startsWith('-') && arg !== '--all');
  if (unknown.length > 0) {
    console.error(`unknown option ${unknown.join(' ')}; usage: npm test -- [--all] [PATTERN ...]`);
    process.exit(2);
  }
  const patterns = args.filter((arg) => !arg.startsWith('-')).map((arg) => arg.replace(/\.ts$/, '.js'));
  return { all: args.includes('--all') || process.env['CI'] === 'true', patterns };
}

function testFiles(patterns: readonly string[]): readonly string[] {
  const entries = readdirSync(`${ROOT}dist/test`, { recursive: true, encoding: 'utf8' });
  const files = entries.filter((name) => name.endsWith('.test.js')).map((name) => `dist/test/${name}`);
  return files.filter((file) => patterns.length === 0 || patterns.some((part) => file.includes(part))).sort();
}

interface Finished {
  readonly status: number;
  readonly output: readonly string[];
}

function runTool(file: string, args: readonly string[], onLine: (line: string) => void): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PATH: searchPath(), FORCE_COLOR: '0' };
    const child = spawn(process.execPath, [`${ROOT}node_modules/${file}`, ...args], { cwd: ROOT, env });
    running.add(child);
    const output: string[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        output.push(line);
        if (stream === child.stdout) onLine(line);
      });
    }
    child.once('error', reject);
    child.once('close', (status) => {
      running.delete(child);
      resolve({ status: status ?? 1, output });
    });
  });
}

/** A linter counts as one test. */
async function lint(title: string, file: string, args: readonly string[]): Promise<void> {
  const { status, output } = await runTool(file, args, () => {});
  record({ title, verdict: status === 0 ? 'passed' : 'failed', needs: '', details: output });
}

async function runTests(config: string, files: readonly string[]): Promise<void> {
  if (files.length === 0) return;
  let explained = false;
  const reader = new TapReader((result) => {
    explained ||= result.verdict === 'failed';
    record(result);
  });
  const args = ['--tap', '--config', config, ...files];
  const { status, output } = await runTool('ava/entrypoints/cli.mjs', args, (line) => reader.line(line));
  reader.end();
  if (status !== 0 && !explained) record({ title: `ava ${config}`, verdict: 'failed', needs: '', details: output });
}

/**
 * Real hosts, etcds and kernels on a busy machine: a system test that failed is run once more, its file alone. What
 * passes then is told apart, as a test that needs mending.
 */
async function tryAgain(files: readonly string[]): Promise<void> {
  const failed = results.filter(({ verdict }) => verdict === 'failed');
  const again = new Map(failed.map((result) => [result, fileOf(result.title, files)]));
  for (const file of new Set(again.values())) {
    if (file === undefined) continue;
    console.log(`\nOnce more: ${file}`);
    const before = results.length;
    await runTests('ava.system.config.js', [file]);
    const second = results.splice(before);
    if (second.length === 0 || second.some(({ verdict }) => verdict === 'failed')) continue;
    for (const result of failed.filter((one) => again.get(one) === file)) {
      results[results.indexOf(result)] = { ...result, verdict: 'passed' };
      unstable.push(result);
    }
  }
}

function count(verdict: TapResult['verdict']): number {
  return results.filter((result) => result.verdict === verdict).length;
}

function listSkipped(): void {
  const byNeed = new Map<string, string[]>();
  for (const { verdict, needs, title } of results) {
    if (verdict === 'skipped') byNeed.set(needs, [...(byNeed.get(needs) ?? []), title]);
  }
  for (const [needs, titles] of byNeed) console.log(`\nSkipped, needs ${needs}:\n  ${titles.join('\n  ')}`);
}

function listUnstable(): void {
  const titles = unstable.map(({ title }) => title);
  if (titles.length > 0) console.log(`\nPassed only at the second try, to be mended:\n  ${titles.join('\n  ')}`);
}

function listFailed(): void {
  const failed = results.filter((result) => result.verdict === 'failed');
  if (failed.length > 0) console.log(`\nFailed:\n  ${failed.map((result) => result.title).join('\n  ')}`);
}

/** @returns the exit status */
function conclude(strict: boolean): number {
  listSkipped();
  listUnstable();
  listFailed();
  if (results.length === 0) console.log('\nNo test file matches.');
  const skipped = count('skipped') + count('todo');
  const tail = skipped > 0 ? `, ${skipped} skipped` : '';
  console.log(`\n${count('passed')} passed, ${count('failed')} failed${tail}`);
  return results.length === 0 || count('failed') > 0 || (strict && skipped > 0) ? 1 : 0;
}

/** Builds of minutes, one after the other: begun with the first second, waited for only before the tests that need them. */
async function prepareBuilds(wanted: { readonly flanneld: boolean; readonly docker: boolean }): Promise<void> {
  if (wanted.flanneld) {
    const flanneld = await obtainFlanneld();
    if ('reason' in flanneld) console.log(`flanneld: ${flanneld.reason}`);
    else process.env['FLANNELD'] = flanneld.path;
  }
  if (!wanted.docker) return;
  const docker = await obtainDocker29();
  if ('reason' in docker) console.log(`Docker 29: ${docker.reason}`);
}

async function main(): Promise<number> {
  const { all, patterns } = parse(process.argv.slice(2));
  if (all) process.env['CI'] = 'true';
  const files = testFiles(patterns);
  const isUnit = (file: string) => file.startsWith('dist/test/unit/');
  const isInterop = (file: string) => file.startsWith('dist/test/interop/');
  const isDocker = (file: string) => file.startsWith('dist/test/e2e/docker-');
  const builds = prepareBuilds({ flanneld: all && files.some(isInterop), docker: all && files.some(isDocker) });
  if (patterns.length === 0) {
    await lint('biome check', '@biomejs/biome/bin/biome', ['check', '--error-on-warnings']);
    await lint('knip', 'knip/bin/knip.js', []);
  }
  await runTests('ava.config.js', files.filter(isUnit));
  // So divided that both take about as long; the second one waits for the builds.
  const isSecond = (file: string) =>
    isInterop(file) || isDocker(file) || /^dist\/test\/(integration\/(backends|leases)|soak)\//.test(file);
  const lane = (wanted: (file: string) => boolean) => runTests('ava.system.config.js', files.filter(wanted));
  await Promise.all([lane((file) => !isUnit(file) && !isSecond(file)), builds.then(() => lane(isSecond))]);
  await tryAgain(files.filter((file) => !isUnit(file)));
  return conclude(all);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    for (const child of running) child.kill(signal);
    process.exit(signal === 'SIGINT' ? 130 : signal === 'SIGTERM' ? 143 : 129);
  });
}

process.exitCode = await main();

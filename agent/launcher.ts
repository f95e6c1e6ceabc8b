#!/usr/bin/env node
/**
 * Starts the program (main.ts and all that it imports, in one file beside this one) with the code that V8 compiled in an
 * earlier run, where there is some: to compile it anew takes longer than what the agent does until the subnet file is
 * there. Whatever is wrong with that code, the program starts without it.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { cacheDirectory, codeFile, keepCode, keptCode } from './code-cache.ts';
import { mayGrow, mayNotGrow } from './young-objects.ts';

/** A start is over by then; what it compiled is what the next one needs. */
const KEEP_AFTER_MS = 5_000;

mayGrow();
const program = join(import.meta.dirname, 'main.cjs');
// The build writes ASCII, and into the first line the digest of the rest.
const source = readFileSync(program, 'latin1');
const { version, versions, arch, execArgv, env } = process;
const runtime = JSON.stringify([version, versions.v8, arch, execArgv, env['NODE_OPTIONS']]);
const whose = { script: source.slice(0, source.indexOf('\n')), runtime };
/** Beside the program; where that is read-only, in the service's cache directory. */
const places = [import.meta.dirname, cacheDirectory()].filter((place) => place !== undefined);
const paths = places.map((place) => join(place, codeFile(runtime)));

let cachedData: Buffer | undefined;
for (const path of paths) cachedData ??= keptCode(path, whose);
const script = new Script(`(function (exports, require, module, __filename, __dirname) {${source}\n})`, {
  filename: program,
  ...(cachedData && { cachedData }),
});

async function keep(): Promise<void> {
  // V8 notes down its flags with the code, and takes it where they are the same: as they are at a start.
  mayGrow();
  const code = script.createCachedData();
  mayNotGrow();
  for (const path of paths) if (await keepCode(path, whose, code)) return;
}

// Only an agent does what a start has to be quick for.
if (process.argv[2] === 'run' && script.cachedDataRejected !== false)
  setTimeout(() => void keep(), KEEP_AFTER_MS).unref();

const module = { exports: {} };
script.runInThisContext()(module.exports, createRequire(program), module, program, import.meta.dirname);

/**
 * Makes of the compiled program what is shipped, in `dist/bundle`:
 *
 *   main.cjs               agent/main.ts and all that it imports, in one file
 *   tartan.cjs             starts it: agent/launcher.ts
 *   data-path-worker.cjs   backends/data-path/worker.ts, which runs in threads of its own
 *   packet-core.wasm       backends/data-path/core
 *   LICENCES               of the packages in it
 *
 * To look for and read six hundred files takes longer than to run them. Native parts stay outside, and koffi with them.
 */
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { etcdServicesModule } from './etcd-services.ts';
import { leanPackages } from './lean-packages.ts';
import { compilePacketCore } from './packet-core.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const OUTPUT = join(ROOT, 'dist/bundle');

/** The output is ASCII, as the launcher reads it. */
const COMMON: BuildOptions = {
  absWorkingDir: ROOT,
  bundle: true,
  charset: 'ascii',
  define: { 'import.meta.dirname': '__dirname', 'import.meta.filename': '__filename' },
  external: ['koffi'],
  format: 'cjs',
  legalComments: 'none',
  lineLimit: 120,
  outdir: OUTPUT,
  outExtension: { '.js': '.cjs' },
  platform: 'node',
  target: 'node20.19',
  minifySyntax: true,
  minifyWhitespace: true,
};

/** What etcd3 asks proto-loader for is made here and now, instead of at every start. */
const etcdServices: Plugin = {
  name: 'etcd-services',
  setup({ onResolve, onLoad }) {
    const etcd3 = createRequire(createRequire(import.meta.url).resolve('etcd3'));
    const resolveDir = dirname(etcd3.resolve('@grpc/proto-loader'));
    onResolve({ filter: /^@grpc\/proto-loader$/ }, ({ path }) => ({ path, namespace: 'made' }));
    onLoad({ filter: /./, namespace: 'made' }, async () => {
      return { contents: await etcdServicesModule(etcd3.resolve('../proto/rpc.proto')), resolveDir };
    });
  },
};

/** Of each package that a file is of. */
function licences(files: readonly string[]): string {
  const packages = new Set(files.flatMap((file) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []));
  const texts = [...packages].sort().map((path) => {
    const file = readdirSync(join(ROOT, path)).find((name) => /^licen[cs]e/i.test(name));
    const { name, version, license } = JSON.parse(readFileSync(join(ROOT, path, 'package.json'), 'utf8'));
    const text = file === undefined ? '' : readFileSync(join(ROOT, path, file), 'utf8');
    return `${name} ${version}: ${license}\n\n${text.trim()}\n`;
  });
  return texts.join(`\n${'-'.repeat(80)}\n\n`);
}

/** @returns the output's text and the files that went into it */
async function bundle(options: BuildOptions): Promise<{ readonly text: string; readonly inputs: readonly string[] }> {
  const { outputFiles, metafile } = await build({ ...COMMON, ...options, metafile: true, write: false });
  const text = outputFiles.find(({ path }) => path.endsWith('.cjs'))?.text;
  if (text === undefined) throw new Error('esbuild made nothing');
  return { text, inputs: Object.keys(metafile.inputs) };
}

/** Whoever starts it meanwhile finds the one before, whole. */
function write(name: string, text: string | Uint8Array, mode = 0o644): void {
  const path = join(OUTPUT, name);
  writeFileSync(`${path}.new`, text);
  chmodSync(`${path}.new`, mode);
  renameSync(`${path}.new`, path);
}

const launcher = await bundle({ entryPoints: ['dist/agent/launcher.js'] });
const main = await bundle({ entryPoints: ['dist/agent/main.js'], plugins: [etcdServices, leanPackages] });
mkdirSync(OUTPUT, { recursive: true });
const worker = await bundle({ entryPoints: ['dist/backends/data-path/worker.js'] });
const made = ['LICENCES', 'data-path-worker.cjs', 'main.cjs', 'packet-core.wasm', 'tartan.cjs'];
write('LICENCES', licences([...main.inputs, ...worker.inputs]));
// What the launcher knows its compiled code by.
write('main.cjs', `// ${createHash('sha256').update(main.text).digest('hex')}\n${main.text}`);
write('tartan.cjs', launcher.text, 0o755);
write('data-path-worker.cjs', worker.text);
write('packet-core.wasm', await compilePacketCore());
// Code of the one before, and whatever else would be shipped.
for (const name of readdirSync(OUTPUT)) if (!made.includes(name)) rmSync(join(OUTPUT, name), { recursive: true });

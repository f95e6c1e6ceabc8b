/**
 * The packet core as WebAssembly: `backends/data-path/core`, compiled by AssemblyScript with `memory.assemblyscript` in
 * the place of `memory.ts`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MEMORY_BYTES } from '../backends/data-path/core/layout.ts';

/** What of the compiler is used; its own declarations are not those of a module. */
interface Compiler {
  main(
    args: readonly string[],
    api: {
      readonly readFile: (name: string) => string | null;
      readonly writeFile: (name: string, contents: string | Uint8Array) => void;
      readonly listFiles: () => readonly string[];
    },
  ): Promise<{ readonly error: Error | null; readonly stderr: { toString(): string } }>;
}

const CORE = fileURLToPath(new URL('../../backends/data-path/core/', import.meta.url));
/** Their exports are the module's. */
const ENTRIES = ['address-list', 'peers', 'receive', 'samples', 'settings', 'transmit', 'unreachable'];
const PAGE_BYTES = 65536;

function source(name: string): string | null {
  const file = name === 'memory.ts' ? 'memory.assemblyscript' : name;
  try {
    return readFileSync(join(CORE, file), 'utf8');
  } catch {
    return null;
  }
}

/** Rejects with what the compiler says. */
export async function compilePacketCore(): Promise<Uint8Array> {
  const { main }: Compiler = await import(import.meta.resolve('assemblyscript/asc'));
  let made: Uint8Array | undefined;
  const pages = String(MEMORY_BYTES / PAGE_BYTES);
  const options = ['--runtime', 'stub', '-O3', '--converge', '--noAssert', '--enable', 'simd'];
  const size = ['--initialMemory', pages, '--maximumMemory', pages];
  const entries = ENTRIES.map((name) => `${name}.ts`);
  const { error, stderr } = await main([...entries, '--outFile', 'core.wasm', ...options, ...size], {
    readFile: source,
    writeFile: (name, contents) => {
      if (name === 'core.wasm' && typeof contents !== 'string') made = contents;
    },
    listFiles: () => [],
  });
  if (error !== null || made === undefined) throw new Error(`the packet core does not compile:\n${stderr.toString()}`);
  return made;
}

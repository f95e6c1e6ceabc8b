/**
 * The C library that Node itself runs on, called directly. The only importer of koffi, which is loaded with the first
 * declaration that is used: a command that needs none starts without it. Each thread loads its own.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { errnoName } from './errno.ts';

type Koffi = typeof import('koffi');

/** Where there is such a file, Node may be built for musl. */
const MUSL_LOADER: Readonly<Record<string, string>> = {
  x64: '/lib/ld-musl-x86_64.so.1',
  arm64: '/lib/ld-musl-aarch64.so.1',
};

interface Loaded {
  readonly koffi: Koffi;
  /** The process's own symbols: they hold the C library, whatever its name (glibc, musl). */
  readonly library: ReturnType<Koffi['load']>;
}

/** Where the layouts of messages, vectors and addresses are known that these calls take (64 bits, little-endian). */
const KNOWN_LAYOUTS: readonly string[] = ['x64', 'arm64'];

/** Why messages can't be exchanged with the kernel here; undefined: they can. */
export function lacksLayouts(): { readonly errno: string; readonly detail: string } | undefined {
  if (KNOWN_LAYOUTS.includes(process.arch)) return undefined;
  return { errno: 'ENOSYS', detail: `it needs ${KNOWN_LAYOUTS.join(' or ')}, and this is ${process.arch}` };
}

let loaded: Loaded | undefined;

function load(): Loaded {
  if (loaded === undefined) {
    const koffi = loadKoffi();
    loaded = { koffi, library: koffi.load(null) };
  }
  return loaded;
}

/** The package takes longer to find its native part than to load it: the usual place is tried first. */
function loadKoffi(): Koffi {
  const require = createRequire(import.meta.filename);
  const { arch } = process;
  const loader = MUSL_LOADER[arch];
  try {
    if (loader !== undefined && !existsSync(loader)) {
      return require(`@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`) as Koffi;
    }
  } catch {
    // The package knows where else it may be.
  }
  return require('koffi') as Koffi;
}

/**
 * The function of that prototype, in C: the caller's type has to say the same. Pointers to memory that stays where it
 * is are best declared `uintptr_t` and passed as numbers (`addressOf`), which costs the least.
 */
export function declare<Call>(prototype: string): Call {
  return load().library.func(prototype) as Call;
}

/** What `make` declares, made with the first use. */
export function declared<Calls>(make: () => Calls): () => Calls {
  let calls: Calls | undefined;
  return () => {
    calls ??= make();
    return calls;
  };
}

/** Of the last call that failed: `EPERM`. */
export function lastError(): string {
  return errnoName(load().koffi.errno());
}

/** As `lastError`, the number alone: where it is asked for with every packet. */
export function lastErrno(): number {
  return load().koffi.errno();
}

/**
 * Where the bytes are. Good for as long as somebody keeps them: an ArrayBuffer stays where it is, and so does a
 * WebAssembly memory that can't grow.
 */
export function addressOf(bytes: Uint8Array): bigint {
  return load().koffi.address(bytes);
}

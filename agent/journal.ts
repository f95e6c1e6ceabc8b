/**
 * What tartan changed on this host besides its own kernel objects and files, so that `tartan down` can put it back. Each
 * entry is written before the change is made:
 *
 *     { "boot": "<boot id>", "sysctls": { "net/ipv4/ip_forward": "0" }, "directories": ["/run/flannel"],
 *       "sockets": ["/run/flannel/subnet.sock"] }
 */
import { lstatSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { JsonObject } from '../config/go-json.ts';
import { isJsonObject } from '../config/go-json.ts';

export interface Journal {
  /** Which boot the sysctls are of: they do not outlive it, and after another one the host's own wish stands again. */
  readonly boot: string;
  /** By path, `net/ipv4/ip_forward`: the value before our first change. */
  readonly sysctls: ReadonlyMap<string, string>;
  /** Directories that were not there, the outermost first. */
  readonly directories: readonly string[];
  /** Status sockets that an agent may have left; whatever else stands there is not ours. */
  readonly sockets: readonly string[];
}

export const EMPTY_JOURNAL: Journal = { boot: '', sysctls: new Map(), directories: [], sockets: [] };

/** Never throws: what makes no sense is left out. */
export function parseJournal(value: unknown): Journal {
  if (!isJsonObject(value)) return EMPTY_JOURNAL;
  const { boot, sysctls, directories, sockets } = value;
  const entries = Object.entries(isJsonObject(sysctls) ? sysctls : {});
  return {
    boot: typeof boot === 'string' ? boot : '',
    sysctls: new Map(entries.flatMap(([name, text]) => (isSetting(name, text) ? [[name, text]] : []))),
    directories: texts(directories),
    sockets: texts(sockets),
  };
}

function texts(value: unknown): readonly string[] {
  return (Array.isArray(value) ? value : []).filter((one) => typeof one === 'string');
}

/** What is written back as root must be a setting of the network, and nothing above it. */
function isSetting(name: string, text: unknown): text is string {
  return typeof text === 'string' && /^net\/ipv[46](\/(?!\.\.?(\/|$))[^/]+)+$/.test(name);
}

export function formatJournal({ sysctls, ...rest }: Journal): JsonObject {
  return { ...rest, sysctls: Object.fromEntries(sysctls) };
}

/** With the sysctls as they were; what is written down of this boot already stays. */
export function withSysctls(journal: Journal, boot: string, found: ReadonlyMap<string, string>): Journal {
  const known = journal.boot === boot ? journal.sysctls : new Map();
  return { ...journal, boot, sysctls: new Map([...found, ...known]) };
}

/** The sysctls that we changed since the host was booted. */
export function changedSysctls(journal: Journal, boot: string): ReadonlyMap<string, string> {
  return journal.boot === boot ? journal.sysctls : new Map();
}

/** With what a start makes. */
export function withPlaces(journal: Journal, directories: readonly string[], socket: string): Journal {
  return {
    ...journal,
    directories: [...new Set([...journal.directories, ...directories])],
    sockets: [...new Set([...journal.sockets, socket])],
  };
}

/** Those of the files' directories that are not there yet, the outermost first. */
export function missingDirectories(files: readonly string[]): readonly string[] {
  const missing = new Set<string>();
  for (const file of files) {
    for (let dir = dirname(file); dir !== dirname(dir) && !isThere(dir); dir = dirname(dir)) missing.add(dir);
  }
  return [...missing].sort((a, b) => a.length - b.length);
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** "" where the kernel does not tell. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}

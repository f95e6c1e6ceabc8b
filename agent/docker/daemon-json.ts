/** Docker's daemon.json: what it says, and how to say more without losing any of it. Pure. */
import { isDeepStrictEqual } from 'node:util';
import { isJsonObject } from '../../config/go-json.ts';

/** Keys whose value Docker does not take apart: of any other object it takes the keys as if they stood outside. */
const FLAT = new Set([
  'cluster-store-opts',
  'default-network-opts',
  'log-opts',
  'runtimes',
  'default-ulimits',
  'features',
  'builder',
  'nri-opts',
]);

export type DaemonSettings =
  | { readonly ok: true; readonly values: ReadonlyMap<string, unknown> }
  | { readonly ok: false; readonly reason: string };

/** What the file sets, as Docker reads it: an empty file sets nothing. */
export function parseDaemonJson(text: string): DaemonSettings {
  if (text.trim() === '') return { ok: true, values: new Map() };
  const value = parsed(text);
  if (!isJsonObject(value)) return { ok: false, reason: 'it is no JSON object' };
  const values = new Map<string, unknown>();
  for (const [key, inner] of Object.entries(value)) {
    if (!isJsonObject(inner) || FLAT.has(key)) values.set(key, inner);
    else for (const [name, one] of Object.entries(inner)) values.set(name, one);
  }
  return { ok: true, values };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export type MergeResult =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly reason: string };

/**
 * The file with these keys set, and not a byte else changed: a key that stands there keeps its place and gets the new
 * value, new ones come last, indented as the others are. What is an object on both sides is merged.
 * @param text "" where there is no file yet.
 */
export function mergeDaemonJson(text: string, settings: ReadonlyMap<string, unknown>): MergeResult {
  const before = text.trim() === '' ? '{}\n' : text;
  const value = parsed(before);
  if (!isJsonObject(value)) return { ok: false, reason: 'it is no JSON object' };
  const entries = entriesOf(before);
  const twice = entries.find(({ key }, at) => entries.findIndex((other) => other.key === key) < at);
  if (twice) return { ok: false, reason: `it has the key "${twice.key}" twice` };
  const indent = indentOf(before);
  let after = before;
  for (const { key, start, end } of entries.toReversed()) {
    const wanted = merged(value[key], settings.get(key));
    if (wanted === undefined || isDeepStrictEqual(wanted, value[key])) continue;
    after = after.slice(0, start) + formatted(wanted, indent) + after.slice(end);
  }
  const added = [...settings].filter(([key]) => !entries.some((entry) => entry.key === key));
  return { ok: true, text: append(after, added, indent) };
}

/** As wanted, within what is there. */
function merged(found: unknown, wanted: unknown): unknown {
  if (!isJsonObject(found) || !isJsonObject(wanted)) return wanted;
  const both = Object.entries(wanted).map(([key, value]) => [key, merged(found[key], value)] as const);
  return { ...found, ...Object.fromEntries(both) };
}

interface Entry {
  readonly key: string;
  /** Where its value is in the text. */
  readonly start: number;
  readonly end: number;
}

const TOKENS = /"(?:\\.|[^"\\])*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** The outermost entries of a text that is a JSON object. */
function entriesOf(text: string): Entry[] {
  const entries: Entry[] = [];
  let depth = 0;
  let word = '';
  let key: string | undefined;
  let start = -1;
  let end = -1;
  for (const { 0: token, index } of text.matchAll(TOKENS)) {
    if (token === '}' || token === ']') depth -= 1;
    const closes = depth === 0 || (depth === 1 && token === ',');
    if (closes && key !== undefined) entries.push({ key, start, end });
    if (closes) key = undefined;
    else if (depth === 1 && token === ':' && key === undefined) [key, start] = [String(JSON.parse(word)), -1];
    else if (start < 0) start = index;
    if (token === '{' || token === '[') depth += 1;
    [word, end] = [token, index + token.length];
  }
  return entries;
}

function append(text: string, added: readonly (readonly [string, unknown])[], indent: string | undefined): string {
  if (added.length === 0) return text;
  const close = text.lastIndexOf('}');
  const head = text.slice(0, close).trimEnd();
  const newline = text.includes('\r\n') ? '\r\n' : '\n';
  const [before, after] = indent === undefined ? [' ', ' '] : [newline + indent, newline];
  const lines = added.map(([key, value]) => `${before}${JSON.stringify(key)}: ${formatted(value, indent)}`);
  return `${head}${head.endsWith('{') ? '' : ','}${lines.join(',')}${after}${text.slice(close)}`;
}

function formatted(value: unknown, indent: string | undefined): string {
  return JSON.stringify(value, null, indent).replaceAll('\n', `\n${indent ?? ''}`);
}

/** What the first key is indented by, two spaces where there is none; undefined: all stands in one line. */
function indentOf(text: string): string | undefined {
  if (/^\s*\{[^\n]*"[^\n]*\}\s*$/.test(text)) return undefined;
  return /^\s*\{[ \t\r]*\n([ \t]+)"/.exec(text)?.[1] ?? '  ';
}

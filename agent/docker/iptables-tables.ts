/** What iptables-save and ip6tables-save print, as rules to follow packets through. Pure. */
import { wordsOf } from '../../backends/firewall/iptables-listing.ts';
import { containsIp, type Ip, type Prefix, parseIp, parsePrefix } from '../../config/address.ts';
import type { Action, Chain, FilterRule, Packet, RuleTable, Test } from './packet-path.ts';

/** Where each table's chains are called, by ip_tables' priorities. */
const PRIORITIES: ReadonlyMap<string, number> = new Map([
  ['raw', -300],
  ['mangle', -150],
  ['filter', 0],
  ['security', 50],
]);

const HOOKS = { PREROUTING: 'prerouting', FORWARD: 'forward' } as const;

export interface IptablesTables {
  readonly tables: readonly RuleTable[];
  /** `10.5.17.2:80`, `[fd00::2]:80`: where connections are sent on to. */
  readonly forwardedTo: ReadonlySet<string>;
  /** Rules and policies that were not there from the start. */
  readonly isInUse: boolean;
}

/**
 * Never throws: lines that make no sense are passed over.
 * @param program for the tables' names: `iptables`, `iptables-legacy`.
 */
export function iptablesTables(text: string, program: string): IptablesTables {
  const tables = new Map<string, Map<string, Chain & { readonly rules: FilterRule[] }>>();
  const forwardedTo = new Set<string>();
  let table = '';
  for (const line of text.split('\n')) {
    const chains = tables.get(table);
    const [, name = '', policy = ''] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (line.startsWith('*')) {
      table = line.slice(1).trim();
      tables.set(table, new Map());
    } else if (name) chains?.set(name, chainOf(table, name, policy));
    else if (line.startsWith('-A ')) {
      const words = wordsOf(line);
      chains?.get(words[1] ?? '')?.rules.push(ruleOf(words.slice(2), line));
      const to = words[words.indexOf('--to-destination') + 1];
      if (words.includes('--to-destination') && to) forwardedTo.add(to);
    }
  }
  const all = [...tables].map(([name, chains]) => ({ name: `${program} ${name}`, chains }));
  const isInUse = all.some(({ chains }) => [...chains.values()].some(isChanged));
  return { tables: all, forwardedTo, isInUse };
}

function isChanged({ rules, policy }: Chain): boolean {
  return rules.length > 0 || policy === 'drop';
}

function chainOf(table: string, name: string, policy: string): Chain & { readonly rules: FilterRule[] } {
  const priority = PRIORITIES.get(table);
  const hook = name === 'PREROUTING' || name === 'FORWARD' ? HOOKS[name] : undefined;
  const base = priority !== undefined && hook ? { hook, priority } : undefined;
  return { name, base, policy: policy === 'DROP' ? 'drop' : 'accept', rules: [] };
}

/** @param words behind the chain's name. */
function ruleOf(words: readonly string[], text: string): FilterRule {
  const tests: Test[] = [];
  const at = words.findIndex((word, index) => (word === '-j' || word === '-g') && words[index - 1] !== '--comment');
  const matches = at < 0 ? words : words.slice(0, at);
  for (let index = 0; index < matches.length; ) {
    const isNegated = matches[index] === '!';
    if (isNegated) index += 1;
    const option = matches[index] ?? '';
    let next = index + 1;
    // A comment may say anything, even `-j`.
    if (option === '--comment') next += 1;
    while (next < matches.length && matches[next] !== '!' && !matches[next]?.startsWith('-')) next += 1;
    const test = testOf(option, matches.slice(index + 1, next).join(' '));
    if (test) tests.push(isNegated ? negated(test) : test);
    index = next;
  }
  return { tests, action: actionOf(at < 0 ? [] : words.slice(at)), text };
}

function negated(test: Test): Test {
  return (packet, mark) => {
    const result = test(packet, mark);
    return result === undefined ? undefined : !result;
  };
}

/** undefined: it says nothing about packets. */
function testOf(option: string, value: string): Test | undefined {
  switch (option) {
    case '-m':
    case '--comment':
      return undefined;
    case '-i':
      return ({ from }) => isDevice(from, value);
    case '-o':
      return ({ to }) => isDevice(to, value);
    case '-s':
      return isWithin(value, ({ source }) => source);
    case '-d':
      return isWithin(value, ({ destination }) => destination);
    case '--ctstate':
    case '--state':
      return () => value.split(',').includes('NEW');
    case '--mark':
      return isMarked(value);
    default:
      return () => undefined;
  }
}

function isDevice(name: string, pattern: string): boolean {
  return pattern.endsWith('+') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** `10.5.0.0/16`, or a single address. */
export function prefixIn(text: string): Prefix | undefined {
  const ip = parseIp(text);
  return parsePrefix(ip === undefined ? text : `${ip}/${ip.includes(':') ? 128 : 32}`);
}

function isWithin(value: string, addressOf: (packet: Packet) => Ip): Test {
  const prefix = prefixIn(value);
  return (packet) => (prefix === undefined ? undefined : containsIp(prefix, addressOf(packet)));
}

function isMarked(value: string): Test {
  const [wanted = Number.NaN, mask = 0xff_ff_ff_ff] = value.split('/').map(Number);
  return (_packet, mark) => (mark & mask) >>> 0 === wanted;
}

const KINDS: ReadonlyMap<string, Action> = new Map([
  ['ACCEPT', { kind: 'accept' }],
  ['DROP', { kind: 'drop' }],
  ['REJECT', { kind: 'drop' }],
  ['RETURN', { kind: 'return' }],
]);

/** A target that is no chain (LOG, CT) is jumped to in vain, which is right: it ends nothing. */
function actionOf([flag, target = '', ...rest]: readonly string[]): Action {
  const kind = KINDS.get(target);
  if (kind) return kind;
  if (target === 'MARK') return markingOf(rest);
  if (flag === undefined) return { kind: 'continue' };
  return { kind: flag === '-g' ? 'goto' : 'jump', chain: target };
}

/** `--set-xmark value/mask`: the bits of the mask are zeroed, then the value is xored in. */
function markingOf(words: readonly string[]): Action {
  const text = words[words.indexOf('--set-xmark') + 1] ?? '';
  const [value, mask = 0xff_ff_ff_ff] = text.split('/').map(Number);
  if (!words.includes('--set-xmark') || value === undefined || Number.isNaN(value)) return { kind: 'continue' };
  return { kind: 'mark', change: (mark) => ((mark & ~mask) ^ value) >>> 0 };
}

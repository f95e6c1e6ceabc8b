/**
 * What iptables-save prints:
 *
 *   *nat
 *   :POSTROUTING ACCEPT [0:0]                  a chain of the kernel's, with its policy
 *   :FLANNEL-POSTRTG - [0:0]                   somebody's chain
 *   -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
 *   COMMIT
 */

/** Rules in order, as printed after `-A CHAIN `. */
export type IptablesChains = ReadonlyMap<string, readonly string[]>;
/** Chains by table. */
export type IptablesListing = ReadonlyMap<string, IptablesChains>;

/** Lines that are no rules are passed over. */
export function parseIptablesListing(text: string): IptablesListing {
  const tables = new Map<string, Map<string, string[]>>();
  let chains = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      chains = new Map();
      tables.set(line.slice(1).trim(), chains);
    } else if (line.startsWith(':')) chains.set(line.slice(1, line.indexOf(' ')), []);
    else if (line.startsWith('-A ')) {
      const end = line.indexOf(' ', 3);
      const [chain, rule] = end < 0 ? [line.slice(3), ''] : [line.slice(3, end), line.slice(end + 1).trimEnd()];
      const rules = chains.get(chain);
      if (rules === undefined) chains.set(chain, [rule]);
      else rules.push(rule);
    }
  }
  return tables;
}

/** Tables that iptables-nft can't show, because somebody put rules into them that iptables has no words for. */
export function unreadableTables(text: string): string[] {
  return Array.from(text.matchAll(/^# Table [`'](\w+)' is incompatible/gm), ([, table = '']) => table);
}

/** The words of a rule; of quoted ones what is between the quotes. */
export function wordsOf(rule: string): string[] {
  return Array.from(rule.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g), ([, quoted, plain]) =>
    quoted === undefined ? (plain ?? '') : quoted.replaceAll(/\\(.)/g, '$1'),
  );
}

/** Where a packet that matches goes. */
export function targetOf(rule: string): string | undefined {
  return optionOf(rule, '-j') ?? optionOf(rule, '-g');
}

export function commentOf(rule: string): string | undefined {
  return optionOf(rule, '--comment');
}

/** What stands behind `-s` and `-d`. */
export function addressesOf(rule: string): string[] {
  const words = wordsOf(rule);
  return words.flatMap((word, at) => (['-s', '-d'].includes(words[at - 1] ?? '') ? [word] : []));
}

function optionOf(rule: string, option: string): string | undefined {
  const words = wordsOf(rule);
  // Behind an option its value stands, which may look like an option: a comment may be anything.
  for (let at = 0; at < words.length; at++) {
    if (words[at] === option) return words[at + 1];
    if (words[at] === '--comment') at++;
  }
  return undefined;
}

/**
 * What `nft -n -s list table` prints:
 *
 *   table ip flannel-ipv4 {
 *       comment "rules for flannel-ipv4"
 *       chain postrtg {
 *           comment "chain to manage traffic masquerading by flannel"
 *           type nat hook postrouting priority 100; policy accept;
 *           meta mark 0x00004000 return
 *       }
 *   }
 */
export interface NftablesChain {
  /** `type nat hook postrouting priority 100; policy accept;`, empty where it is on no hook. */
  readonly head: string;
  readonly rules: readonly string[];
}

export interface NftablesListing {
  readonly chains: ReadonlyMap<string, NftablesChain>;
  /** Whether there is more than chains: sets, maps and the like. */
  readonly hasMore: boolean;
}

/** Of one table. */
export function parseNftablesListing(text: string): NftablesListing {
  const chains = new Map<string, { head: string; rules: string[] }>();
  let hasMore = false;
  let chain: { head: string; rules: string[] } | undefined;
  for (const { line, depth } of statements(text)) {
    if (depth === 1) {
      const name = /^chain (\S+) \{$/.exec(line)?.[1];
      chain = name === undefined ? undefined : { head: '', rules: [] };
      if (name !== undefined && chain) chains.set(name, chain);
      else if (line.endsWith('{')) hasMore = true;
    } else if (depth === 2 && chain && line.startsWith('type ')) chain.head = line;
    else if (depth === 2 && chain && !line.startsWith('comment ')) chain.rules.push(line);
  }
  return { chains, hasMore };
}

/** Lines with how many braces are open before them; a rule that goes over several lines is one. */
function statements(text: string): { line: string; depth: number }[] {
  const lines: { line: string; depth: number }[] = [];
  let depth = 0;
  for (const raw of text.split('\n')) {
    const line = raw.trim();
    const change = countOf(line, '{') - countOf(line, '}');
    const last = lines.at(-1);
    if (depth > 2 && last) lines[lines.length - 1] = { line: `${last.line} ${line}`, depth: last.depth };
    else if (line !== '' && line !== '}') lines.push({ line, depth });
    depth += change;
  }
  return lines;
}

function countOf(line: string, brace: string): number {
  return line.replaceAll(/"[^"]*"/g, '').split(brace).length - 1;
}

/** The addresses that a rule compares packets with. */
export function addressesIn(rule: string): string[] {
  return Array.from(rule.matchAll(/\bip6? [sd]addr (?:!= )?([0-9a-fA-F.:/]+)/g), ([, address = '']) => address);
}

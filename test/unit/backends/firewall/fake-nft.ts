/** nft as far as the peer filter uses it: one table, kept by element, and printed as nft prints it. */
import type { Outcome, Programs, RunOptions } from '../../../../backends/firewall/programs.ts';

interface Table {
  readonly sets: Map<string, Map<string, number>>;
  readonly counters: Map<string, number>;
  readonly chains: Map<string, string[]>;
}

const OK: Outcome = { ok: true, stdout: '', stderr: '', failure: '' };

export class FakeNft implements Programs {
  table: Table | undefined;
  /** What was run: `list table`, `list set`, or the script. */
  readonly runs: string[] = [];
  /** Set: every script is refused with it. */
  refusal: string | undefined;
  isInstalled = true;
  #running = 0;
  mostAtOnce = 0;

  get scripts(): string[] {
    return this.runs.filter((run) => run.includes('\n'));
  }

  async run(_program: string, args: readonly string[], { input }: RunOptions = {}): Promise<Outcome | undefined> {
    this.#running += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#running);
    await new Promise((resolve) => setImmediate(resolve));
    this.#running -= 1;
    this.runs.push(input ?? args.slice(0, 2).join(' '));
    if (!this.isInstalled) return undefined;
    if (args[0] === 'list') return this.#list(args);
    if (args[0] === 'delete') this.table = undefined;
    else if (this.refusal !== undefined) return failed(this.refusal);
    else for (const line of (input ?? '').split('\n')) this.#execute(line);
    return OK;
  }

  set(name: string): Map<string, number> {
    const set = this.table?.sets.get(name);
    if (!set) throw new Error(`no set ${name}`);
    return set;
  }

  #execute(line: string): void {
    const [verb = '', kind = '', , , name = '', ...rest] = line.split(' ');
    const text = rest.join(' ');
    if (kind === 'table') this.table = verb === 'add' ? made() : undefined;
    else if (kind === 'element') this.#change(verb, name, text);
    else if (kind === 'rule') this.table?.chains.get(name)?.push(text);
    else if (verb === 'flush' && kind === 'chain') this.table?.chains.get(name)?.splice(name === 'input' ? 1 : 0);
    else if (verb === 'flush') this.set(name).clear();
    else if (kind === 'set') this.table?.sets.set(name, new Map());
    else if (kind === 'counter') this.table?.counters.set(name, 0);
    else if (kind === 'chain') this.table?.chains.set(name, text === '' ? [] : [text.slice(2, -2)]);
  }

  #change(verb: string, name: string, text: string): void {
    const set = this.set(name);
    for (const element of text.slice(2, -2).split(', ')) {
      const [key = ''] = element.split(' timeout ');
      if (verb === 'add') set.set(key, set.get(key) ?? 0);
      else if (!set.delete(key)) throw new Error(`no element ${key} in ${name}`);
    }
  }

  #list(args: readonly string[]): Outcome {
    if (!this.table) return failed('Error: No such file or directory');
    const { sets, counters, chains } = this.table;
    const only = args[1] === 'set' ? args.at(-1) : undefined;
    const block = (kind: string, name: string, lines: readonly string[]): string =>
      only === undefined || only === name
        ? `\t${kind} ${name} {\n${lines.map((line) => `\t\t${line}\n`).join('')}\t}\n`
        : '';
    const blocks = [
      ...Array.from(counters, ([name, packets]) => block('counter', name, [`packets ${packets} bytes 0`])),
      ...Array.from(sets, ([name, elements]) => block('set', name, [elementsOf(elements)])),
      ...Array.from(chains, ([name, lines]) => block('chain', name, lines)),
    ];
    return { ...OK, stdout: `table inet tartan-flannel.1 {\n${blocks.join('')}}\n` };
  }
}

function made(): Table {
  return { sets: new Map(), counters: new Map(), chains: new Map() };
}

function elementsOf(elements: ReadonlyMap<string, number>): string {
  const texts = Array.from(elements, ([key, packets]) => `${key} counter packets ${packets} bytes 0`);
  return texts.length === 0 ? 'type x' : `elements = { ${texts.join(',\n\t\t\t     ')} }`;
}

function failed(failure: string): Outcome {
  return { ok: false, stdout: '', stderr: failure, failure: `nft: ${failure}` };
}

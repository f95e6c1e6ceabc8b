/**
 * systemd's unit syntax (systemd.syntax(7)), as far as our own files use it:
 *
 *   [Section]
 *   Key=value            a key may stand several times; an empty value resets it
 *   # comment
 */
export type UnitFile = ReadonlyMap<string, readonly string[]>;

/** Every value of `Section.Key`, in order. Throws on a line that is none of the above. */
export function parseUnitFile(text: string): UnitFile {
  const values = new Map<string, string[]>();
  let section = '';
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const header = /^\[(\w+)\]$/.exec(line)?.[1];
    const [, key, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (header !== undefined) section = header;
    else if (key === undefined || value === undefined) throw new Error(`not a unit file's line: ${line}`);
    else values.set(`${section}.${key}`, [...(values.get(`${section}.${key}`) ?? []), value]);
  }
  return values;
}

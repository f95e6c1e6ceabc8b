/**
 * Go's flag syntax on top of node's parseArgs: one dash is as good as two, a boolean takes its value only after `=`,
 * any other flag takes the next argument whatever it looks like, `--` ends the flags. Unlike Go's, flags may also stand
 * after other arguments.
 *
 *     -x=v   --x=v   -x v   --x v   -x (boolean)
 */
import { parseArgs } from 'node:util';

export interface FlagUse {
  readonly name: string;
  /** undefined: none was given. A boolean without a value is "true". */
  readonly value: string | undefined;
}

export interface ScannedFlags {
  readonly flags: readonly FlagUse[];
  readonly positionals: readonly string[];
}

/** `isBoolean` says whether a flag takes no value, undefined for an unknown flag. Never throws. */
export function scanGoFlags(
  argv: readonly string[],
  known: ReadonlyMap<string, { readonly isBoolean: boolean }>,
): ScannedFlags {
  const options = Object.fromEntries(
    [...known].map(([name, { isBoolean }]) => [name, { type: isBoolean ? ('boolean' as const) : ('string' as const) }]),
  );
  const args = argv.map((argument) => (/^-[^-]/.test(argument) ? `-${argument}` : argument));
  const { tokens } = parseArgs({ args, options, strict: false, tokens: true, allowPositionals: true });
  const flags: FlagUse[] = [];
  const positionals: string[] = [];
  let mayBelongToUnknown = -1;
  for (const token of tokens) {
    if (token.kind === 'option') {
      const flag = known.get(token.name);
      if (flag === undefined && token.value === undefined) mayBelongToUnknown = token.index + 1;
      // Tokens point into argv: a value of its own is taken from there, before its dash was doubled.
      const value = token.inlineValue === false ? argv[token.index + 1] : token.value;
      flags.push({ name: token.name, value: value ?? (flag?.isBoolean ? 'true' : undefined) });
    } else if (token.kind === 'positional' && token.index !== mayBelongToUnknown) {
      positionals.push(argv[token.index] ?? token.value);
    }
  }
  return { flags, positionals };
}

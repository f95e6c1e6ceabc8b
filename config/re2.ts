/**
 * Regular expressions as Go writes them (RE2 syntax), compiled for JavaScript. What the two share goes through; what
 * only RE2 has is translated; what neither can be sure of is refused rather than matched differently:
 *
 *     (?i) (?s) (?m) at the start   → flags          \A \z   → (?<![\s\S]) (?![\s\S])
 *     (?P<name>…)                   → (?<name>…)     \Q…\E   → the text itself
 *     [[:alpha:]]                   → [A-Za-z]       \-      → the sign itself, inside and outside of classes
 *     (?=…) (?!…) (?<=…) (?<!…) \1  → refused: RE2 has neither look-around nor back-references
 */
import { toError } from './errors.ts';

const POSIX_CLASSES: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  digit: '0-9',
  lower: 'a-z',
  upper: 'A-Z',
  xdigit: '0-9A-Fa-f',
  space: '\\t\\n\\v\\f\\r ',
  blank: '\\t ',
  word: '0-9A-Za-z_',
  punct: '!-\\/:-@\\[-`\\{-~',
};

/** Signs that JavaScript lets one escape with the `u` flag; others stand for themselves. */
const SYNTAX = /[\^$\\.*+?()[\]{}|/]/;
const TOKEN = /\\Q([\s\S]*?)(?:\\E|$)|\\([\s\S])|\[:(\^?)(\w+):\]|\(\?P<|\(\?(<?[=!])|[\s\S]/gu;

type Re2Result = { readonly ok: true; readonly regex: RegExp } | { readonly ok: false; readonly reason: string };

/** Unanchored, as Go's MatchString. Never throws. */
export function compileRe2(text: string): Re2Result {
  const flags = /^\(\?([ims]+)\)/.exec(text)?.[1] ?? '';
  try {
    const source = translate(flags === '' ? text : text.slice(flags.length + 3));
    return { ok: true, regex: new RegExp(source, [...new Set(`${flags}u`)].join('')) };
  } catch (error) {
    return { ok: false, reason: toError(error).message };
  }
}

function translate(text: string): string {
  let inClass = false;
  return text.replace(
    TOKEN,
    (token: string, quoted?: string, escaped?: string, not?: string, posix?: string, look?: string) => {
      if (quoted !== undefined) return [...quoted].map(literal).join('');
      if (escaped !== undefined) return translateEscape(escaped, inClass);
      if (posix !== undefined && inClass) return posixClass(posix, not === '^');
      if (posix !== undefined) throw new SyntaxError(`${token} outside of a class`);
      if (look !== undefined && !inClass) throw new SyntaxError('look-around is not offered');
      if (token === '(?P<' && !inClass) return '(?<';
      if (token === '[' && inClass) return '\\[';
      if (token === '[') inClass = true;
      else if (token === ']') inClass = false;
      return token;
    },
  );
}

function translateEscape(sign: string, inClass: boolean): string {
  if (/[1-9]/.test(sign)) throw new SyntaxError('back-references are not offered');
  if (sign === 'A' && !inClass) return '(?<![\\s\\S])';
  if (sign === 'z' && !inClass) return '(?![\\s\\S])';
  if (sign === '-') return inClass ? '\\-' : '-';
  return /[0-9A-Za-z]/.test(sign) ? `\\${sign}` : literal(sign);
}

function posixClass(name: string, negated: boolean): string {
  const members = POSIX_CLASSES[name];
  if (members === undefined || negated) throw new SyntaxError(`no class [:${name}:] here`);
  return members;
}

function literal(sign: string): string {
  return SYNTAX.test(sign) ? `\\${sign}` : sign;
}

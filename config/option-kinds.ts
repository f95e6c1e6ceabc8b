/** What kinds of value an option can have: how its text is read, and how help names it. */
import { type Family, familyOf, type Ip, notUnicast, parseIp } from './address.ts';
import { blankUser, parseEndpoint } from './endpoint.ts';
import { compileRe2 } from './re2.ts';

export type Parsed<T> =
  | { readonly ok: true; readonly value: T; readonly warnings?: readonly string[] }
  | { readonly ok: false; readonly problems: readonly string[] };

export interface Kind<T> {
  /** How help names the value; "" for booleans. */
  readonly metavar: string;
  readonly isBoolean: boolean;
  readonly isRepeatable: boolean;
  /** All texts that were given, in order: one at least. */
  parse(texts: readonly string[]): Parsed<T>;
}

/** A kind whose last text wins, though each of them must be right. */
function single<T>(metavar: string, parseOne: (text: string) => Parsed<T>, isBoolean = false): Kind<T> {
  const parse = (texts: readonly string[]): Parsed<T> => {
    const results = texts.map(parseOne);
    const problems = results.flatMap((result) => (result.ok ? [] : result.problems));
    const last = results.at(-1);
    return problems.length === 0 && last !== undefined ? last : { ok: false, problems };
  };
  return { metavar, isBoolean, isRepeatable: false, parse };
}

/** A kind whose texts are entries of a list. */
function repeatable<T>(metavar: string, parseOne: (text: string) => Parsed<T>): Kind<readonly T[]> {
  const parse = (texts: readonly string[]): Parsed<readonly T[]> => gather(texts.map(parseOne));
  return { metavar, isBoolean: false, isRepeatable: true, parse };
}

function gather<T>(results: readonly Parsed<T>[]): Parsed<readonly T[]> {
  const problems = results.flatMap((result) => (result.ok ? [] : result.problems));
  if (problems.length > 0) return { ok: false, problems };
  const warnings = results.flatMap((result) => (result.ok ? (result.warnings ?? []) : []));
  return { ok: true, value: results.flatMap((result) => (result.ok ? [result.value] : [])), warnings };
}

function bad(problem: string): { readonly ok: false; readonly problems: readonly string[] } {
  return { ok: false, problems: [problem] };
}

export const text = (metavar: string): Kind<string> => single(metavar, (value) => ({ ok: true, value }));

export const filledText = (metavar: string): Kind<string> => {
  return single(metavar, (value) => (value === '' ? bad('must not be empty') : { ok: true, value }));
};

export const list = (metavar: string): Kind<readonly string[]> => {
  return repeatable(metavar, (value) => (value === '' ? bad('must not be empty') : { ok: true, value }));
};

const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

/** Go's strconv.ParseBool; undefined for any other text. */
export function parseGoBoolean(value: string): boolean | undefined {
  return TRUE.includes(value) ? true : FALSE.includes(value) ? false : undefined;
}

export const boolean: Kind<boolean> = single(
  '',
  (value) => {
    const parsed = parseGoBoolean(value);
    return parsed === undefined ? bad(`"${value}" is neither true nor false`) : { ok: true, value: parsed };
  },
  true,
);

/** Go's flag integers: decimal, or with 0x, 0o, 0b or a bare 0 in front; undefined for any other text. */
function parseGoInteger(value: string): number | undefined {
  const match = /^([+-]?)(?:0([xX][0-9a-fA-F]+|[bB][01]+)|0[oO]?([0-7]+)|([1-9]\d*|0))$/.exec(value);
  if (match === null) return undefined;
  const [, sign, prefixed, octal, decimal] = match;
  const size =
    octal === undefined ? Number(prefixed === undefined ? decimal : `0${prefixed}`) : Number.parseInt(octal, 8);
  return sign === '-' && size !== 0 ? -size : size;
}

/** A whole number from `min` up to and including `max`. */
export const integer = (metavar: string, min: number, max: number): Kind<number> => {
  return single(metavar, (value) => {
    const parsed = parseGoInteger(value);
    if (parsed === undefined) return bad(`"${value}" is no whole number`);
    return parsed < min || parsed > max ? bad(`${value} is not in ${min}..${max}`) : { ok: true, value: parsed };
  });
};

export const choice = <T extends string>(...values: readonly T[]): Kind<T> => {
  return single(values.join('|'), (given) => {
    const value = values.find((candidate) => candidate === given);
    return value === undefined ? bad(`"${given}" is none of ${values.join(', ')}`) : { ok: true, value };
  });
};

/** A comma-separated list of some of the values; empty: none. */
export const choices = <T extends string>(...values: readonly T[]): Kind<readonly T[]> => {
  const one = choice(...values);
  return single(`${values.join('|')},…`, (given) => {
    return gather(given === '' ? [] : given.split(',').map((entry) => one.parse([entry.trim()])));
  });
};

/** An address to listen on. */
export const address: Kind<Ip> = single('ADDRESS', (value) => {
  const ip = parseIp(value);
  return ip === undefined ? bad(`"${value}" is no IP address`) : { ok: true, value: ip };
});

/** An address of a host that packets are sent to, of either family unless one is asked for; empty: none. */
export const hostAddress = (family?: Family): Kind<Ip | undefined> => {
  return single<Ip | undefined>('ADDRESS', (value) => {
    if (value === '') return { ok: true, value: undefined };
    const ip = parseIp(value);
    if (ip === undefined || (family !== undefined && familyOf(ip) !== family)) {
      return bad(`"${value}" is no ${family === undefined ? 'IP' : `IPv${family}`} address`);
    }
    const why = notUnicast(ip);
    return why === undefined ? { ok: true, value: ip } : bad(`${ip} is no address of a host (${why})`);
  });
};

/** A comma-separated list of URLs, each as `scheme://host:port`. */
export const endpoints: Kind<readonly string[]> = single('URL,…', (value) => {
  return gather(value.split(',').map((entry) => parseOneEndpoint(entry.trim())));
});

function parseOneEndpoint(entry: string): Parsed<string> {
  if (entry === '') return bad('an entry is empty');
  const endpoint = parseEndpoint(entry);
  if (!endpoint.ok) return bad(`"${blankUser(entry)}" ${endpoint.reason}`);
  const warnings = endpoint.user ? ['the user in an endpoint is ignored; use --etcd-username and --etcd-password'] : [];
  return { ok: true, value: endpoint.bare ? endpoint.url.slice('http://'.length) : endpoint.url, warnings };
}

/** RE2 expressions. */
export const regexes: Kind<readonly RegExp[]> = repeatable('REGEX', (value) => {
  const compiled = value === '' ? ({ ok: false, reason: 'it is empty' } as const) : compileRe2(value);
  return compiled.ok ? { ok: true, value: compiled.regex } : bad(`"${value}" can't be used: ${compiled.reason}`);
});

/** A path of etcd keys, cleaned as Go's path.Join does. The root is none: keys of others lie there. */
export const keyPrefix: Kind<string> = single('PATH', (value) => {
  const steps: string[] = [];
  for (const step of value.split('/')) {
    if (step === '..') steps.pop();
    else if (step !== '' && step !== '.') steps.push(step);
  }
  const isAbsolute = value.startsWith('/');
  if (steps.length === 0) return bad('must name a path below /');
  const prefix = `${isAbsolute ? '/' : ''}${steps.join('/')}`;
  if (isAbsolute) return { ok: true, value: prefix };
  return { ok: true, value: prefix, warnings: [`without a leading slash its keys are not those of /${prefix}`] };
});

/** A name that a shell takes as a variable's. */
export const variableName: Kind<string> = single('NAME', (value) => {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(value) ? { ok: true, value } : bad(`"${value}" is no name of a variable`);
});

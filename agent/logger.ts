/**
 * The one place that knows winston, which is loaded once the agent has started: until then a line goes the same way
 * without it. So none is late, and none is lost with an agent that ends early. Everybody else is handed a `Log`.
 */
import type { Log, LogFields } from '../config/log.ts';

export type LogFormat = 'human' | 'json' | 'journald';

/** Most important first. */
const LEVELS = { error: 0, warn: 1, info: 2, debug: 3 } as const;

type Level = keyof typeof LEVELS;

/** sd-daemon(3): journald reads the priority from a leading `<N>`. */
const PRIORITY: Readonly<Record<Level, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

/** `auto`: journald where systemd connected stderr to it, human lines on a terminal, JSON otherwise. */
export function resolveLogFormat(
  asked: LogFormat | 'auto',
  where: { readonly isTerminal: boolean; readonly journalStream: string | undefined },
): LogFormat {
  if (asked !== 'auto') return asked;
  if (where.journalStream) return 'journald';
  return where.isTerminal ? 'human' : 'json';
}

/**
 * Printable ASCII without blank, quote and equals sign. Anything else is quoted and escaped, so that no text from outside
 * moves a terminal's cursor or looks like another field.
 */
const PLAIN_WORD = /^[!#-<>-~]+$/;

function plain(value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  const code = 'code' in value ? String(value.code) : value.name;
  return `${code}: ${value.message}`;
}

function words(value: unknown): string {
  if (typeof value === 'string' && PLAIN_WORD.test(value)) return value;
  return jsonOf(value).replace(/[\x7f-\x9f]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`);
}

/** A log line never fails for what it says. */
function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return JSON.stringify(String(value));
  }
}

interface Entry {
  readonly level: Level;
  readonly message: string;
  readonly fields: LogFields;
  readonly at: Date;
}

/** `message key=value …` */
function sentence({ message, fields }: Entry): string {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return [message, ...given.map(([key, value]) => `${key}=${words(value)}`)].join(' ');
}

/** Level and message first. */
function object({ level, message, fields, at }: Entry): string {
  const pairs = Object.entries({ level, message, ...fields, timestamp: at.toISOString() });
  const given = pairs.filter(([, value]) => value !== undefined);
  return `{${given.map(([key, value]) => `${JSON.stringify(key)}:${jsonOf(value)}`).join(',')}}`;
}

/** Local time, as a person at the terminal has it. */
function timeOfDay(at: Date): string {
  const two = (part: number): string => String(part).padStart(2, '0');
  const ms = String(at.getMilliseconds()).padStart(3, '0');
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${ms}`;
}

const LINES: Readonly<Record<LogFormat, (entry: Entry) => string>> = {
  json: object,
  journald: (entry) => `<${PRIORITY[entry.level]}>${sentence(entry)}`,
  human: (entry) => `${timeOfDay(entry.at)} ${entry.level.padEnd(5)} ${sentence(entry)}`,
};

type Write = (level: Level, line: string) => void;

export interface StartingLog extends Log {
  /** From when it resolves, lines go through winston. */
  load(): Promise<void>;
}

/**
 * Log to stderr, as flanneld does; `out`: elsewhere. A reader that is gone (EPIPE: the log's pipe outlived its program)
 * loses the lines, nothing more: the agent goes on.
 */
export function createLog(
  options: { readonly level: Level; readonly format: LogFormat },
  out: NodeJS.WritableStream = process.stderr,
): StartingLog {
  out.on('error', () => undefined);
  const least = LEVELS[options.level];
  const lineOf = LINES[options.format];
  let write: Write = (_level, line) => out.write(`${line}\n`);
  const log =
    (level: Level) =>
    (message: string, given: LogFields = {}) => {
      if (LEVELS[level] > least) return;
      // A field of that name does not override what is the line's own.
      const { level: _level, message: _message, timestamp: _timestamp, ...own } = given;
      const fields = Object.fromEntries(Object.entries(own).map(([key, value]) => [key, plain(value)]));
      write(level, lineOf({ level, message, fields, at: new Date() }));
    };
  return {
    ...{ debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
    load: async () => {
      write = await throughWinston(options.level, out);
    },
  };
}

async function throughWinston(level: Level, out: NodeJS.WritableStream): Promise<Write> {
  const { default: winston } = await import('winston');
  const { Console, Stream } = winston.transports;
  const isStderr = out === process.stderr;
  const logger = winston.createLogger({
    level,
    levels: LEVELS,
    format: winston.format.printf(({ message }) => String(message)),
    transports: [isStderr ? new Console({ stderrLevels: Object.keys(LEVELS) }) : new Stream({ stream: out })],
  });
  return (at, line) => logger.log(at, line);
}

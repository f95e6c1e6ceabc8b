/** The one place that knows winston. Everybody else is handed a `Log`. */
import winston from 'winston';
import type { Log, LogFields } from '../config/log.ts';

export type LogFormat = 'human' | 'json' | 'journald';

/** sd-daemon(3): journald reads the priority from a leading `<N>`. */
const PRIORITY: Readonly<Record<string, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

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

/** `message key=value …` */
function sentence(info: winston.Logform.TransformableInfo): string {
  const { level: _level, message, timestamp: _timestamp, ...fields } = info;
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  const pairs = given.map(([key, value]) => `${key}=${words(value)}`);
  return [String(message), ...pairs].join(' ');
}

function formatOf(format: LogFormat): winston.Logform.Format {
  const { combine, timestamp, json, printf } = winston.format;
  if (format === 'json') return combine(timestamp(), json({ deterministic: false }));
  if (format === 'journald') return printf((info) => `<${PRIORITY[info.level] ?? 6}>${sentence(info)}`);
  return combine(
    timestamp({ format: 'HH:mm:ss.SSS' }),
    printf((info) => `${String(info['timestamp'])} ${info.level.padEnd(5)} ${sentence(info)}`),
  );
}

/**
 * Log to stderr, as flanneld does; `out`: elsewhere. A reader that is gone (EPIPE: the log's pipe outlived its program)
 * loses the lines, nothing more: the agent goes on.
 */
export function createLog(
  options: { readonly level: string; readonly format: LogFormat },
  out?: NodeJS.WritableStream,
): Log {
  (out ?? process.stderr).on('error', () => undefined);
  const { Console, Stream } = winston.transports;
  const stderr = new Console({ stderrLevels: ['error', 'warn', 'info', 'debug'] });
  const logger = winston.createLogger({
    level: options.level,
    levels: { error: 0, warn: 1, info: 2, debug: 3 },
    format: formatOf(options.format),
    transports: [out === undefined ? stderr : new Stream({ stream: out })],
  });
  const write =
    (level: string) =>
    (message: string, fields: LogFields = {}) => {
      if (!logger.isLevelEnabled(level)) return;
      const entries = Object.entries(fields).map(([key, value]) => [key, plain(value)] as const);
      const own = { level, message };
      // Twice: first in the line, and not to be overridden by a field of that name.
      logger.log({ ...own, ...Object.fromEntries(entries), ...own });
    };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}

import { goField, type JsonObject } from '../config/go-json.ts';
import type { Backend } from './backend.ts';

/** The address families that the network config enables. */
export interface Families {
  readonly ipv4: boolean;
  readonly ipv6: boolean;
}

/** A configured backend, or everything that keeps it from being one; each problem names its field. */
export type BackendResult =
  | { readonly ok: true; readonly backend: Backend }
  | { readonly ok: false; readonly problems: readonly string[] };

/**
 * Reads the fields of a `Backend` object as flannel does (any case, null keeps the default) and collects what is wrong
 * with them instead of stopping at the first fault.
 */
export class BackendFields {
  readonly problems: string[] = [];
  readonly #config: JsonObject;

  constructor(config: JsonObject) {
    this.#config = config;
  }

  /** A whole number from `min` to `max`; the fallback where the field is absent or wrong. */
  integer(name: string, fallback: number, min: number, max: number): number {
    const value = goField(this.#config, name) ?? fallback;
    if (value === fallback) return fallback;
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    this.problems.push(`Backend.${name} must be a whole number from ${min} to ${max}, not ${shown(value)}`);
    return fallback;
  }

  /** One of some words, in any case, as flannel reads `Type`. */
  choice<T extends string>(name: string, fallback: T, choices: readonly T[]): T {
    const value = goField(this.#config, name) ?? fallback;
    const chosen = choices.find((one) => typeof value === 'string' && value.toLowerCase() === one);
    if (chosen !== undefined) return chosen;
    const known = choices.map((one) => `"${one}"`).join(', ');
    this.problems.push(`Backend.${name} must be one of ${known}, not ${shown(value)}`);
    return fallback;
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = goField(this.#config, name) ?? fallback;
    if (typeof value === 'boolean') return value;
    this.problems.push(`Backend.${name} must be true or false, not ${shown(value)}`);
    return fallback;
  }
}

/** Text from outside, escaped and cut so that it fits a log line. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

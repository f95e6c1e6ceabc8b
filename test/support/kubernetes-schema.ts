import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import { isJsonObject, type JsonObject } from '../../config/go-json.ts';

/** The release whose API the manifests are held against. */
const VERSION = 'v1.36.3';
const GVK = 'x-kubernetes-group-version-kind';

/** A validator for `apiVersion/kind`, undefined for a kind that the API doesn't have. */
export type KubernetesSchema = (apiVersion: string, kind: string) => ValidateFunction | undefined;
type Found = { readonly ok: true; readonly schema: KubernetesSchema } | { readonly ok: false; readonly reason: string };

/**
 * The Kubernetes API's own OpenAPI description, as a validator that refuses unknown fields (what
 * `kubectl apply --validate=strict` does with a server at hand). Comes from the release's Go module and is kept in
 * `$XDG_CACHE_HOME/tartan`; KUBERNETES_SWAGGER names another file.
 */
export function kubernetesSchema(): Found {
  try {
    const parsed: unknown = JSON.parse(swagger());
    if (!isJsonObject(parsed) || !isJsonObject(parsed['definitions'])) return { ok: false, reason: 'no definitions' };
    return { ok: true, schema: validators(strict(parsed['definitions'])) };
  } catch (error: unknown) {
    return { ok: false, reason: `Go and its module proxy, for the Kubernetes API's schema (${String(error)})` };
  }
}

function swagger(): string {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tartan');
  const file = process.env['KUBERNETES_SWAGGER'] ?? join(cache, `kubernetes-${VERSION}-swagger.json`);
  if (existsSync(file)) return readFileSync(file, 'utf8');
  const text = download();
  mkdirSync(cache, { recursive: true });
  writeFileSync(`${file}.${process.pid}`, text);
  renameSync(`${file}.${process.pid}`, file);
  return text;
}

function download(): string {
  const answer: unknown = JSON.parse(
    execFileSync('go', ['mod', 'download', '-json', `k8s.io/kubernetes@${VERSION}`], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  );
  if (!isJsonObject(answer) || typeof answer['Dir'] !== 'string') throw new Error('go mod download named no directory');
  return readFileSync(join(answer['Dir'], 'api/openapi-spec/swagger.json'), 'utf8');
}

/** The definitions with every object closed, and int-or-string as what it says. */
function strict(definitions: JsonObject): JsonObject {
  const close = (definition: unknown): unknown => {
    if (!isJsonObject(definition)) return definition;
    if (definition['format'] === 'int-or-string') return { type: ['string', 'integer'] };
    const closed = isJsonObject(definition['properties']) && definition['additionalProperties'] === undefined;
    return closed ? { ...definition, additionalProperties: false } : definition;
  };
  return Object.fromEntries(Object.entries(definitions).map(([name, definition]) => [name, close(definition)]));
}

function validators(definitions: JsonObject): KubernetesSchema {
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
  ajv.addSchema({ $id: 'kubernetes', definitions });
  const names = new Map(Object.entries(definitions).flatMap(([name, value]) => kinds(value).map((k) => [k, name])));
  return (apiVersion, kind) => {
    const name = names.get(`${apiVersion}/${kind}`);
    return name === undefined ? undefined : ajv.getSchema(`kubernetes#/definitions/${name}`);
  };
}

function kinds(definition: unknown): readonly string[] {
  const marks: unknown = isJsonObject(definition) ? definition[GVK] : undefined;
  if (!Array.isArray(marks)) return [];
  return marks.filter(isJsonObject).map((mark) => {
    const group = mark['group'] === '' ? '' : `${mark['group']}/`;
    return `${group}${mark['version']}/${mark['kind']}`;
  });
}

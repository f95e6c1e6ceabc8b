/** deploy/kubernetes/tartan.yaml, and what stands where in it. */
import { parseAllDocuments } from 'yaml';
import { isJsonObject, type JsonObject } from '../../config/go-json.ts';
import { readRepository } from './repository.ts';

export const MANIFEST = readRepository('deploy/kubernetes/tartan.yaml');
/** Of the DaemonSet. */
export const POD = 'spec.template.spec';

/** YAML as kubectl reads it: version 1.1, where `0400` is octal and a bare `yes` is a boolean. */
export function documents(text: string): readonly JsonObject[] {
  return parseAllDocuments(text, { version: '1.1', uniqueKeys: true }).map((document) => {
    const value: unknown = document.errors.length === 0 ? document.toJS() : undefined;
    if (!isJsonObject(value)) throw new Error(`not a document: ${document.errors.join()}`);
    return value;
  });
}

/** What stands at `path` (keys and indexes, joined by dots), undefined where nothing does. */
export function at(value: unknown, path: string): unknown {
  let here = value;
  for (const key of path.split('.')) {
    if (Array.isArray(here)) here = here[Number(key)];
    else here = isJsonObject(here) ? here[key] : undefined;
  }
  return here;
}

export function list(value: unknown, path: string): readonly unknown[] {
  const found = at(value, path);
  return Array.isArray(found) ? found : [];
}

export function ofKind(kind: string): JsonObject {
  const document = documents(MANIFEST).find((candidate) => candidate['kind'] === kind);
  if (document === undefined) throw new Error(`no ${kind}`);
  return document;
}

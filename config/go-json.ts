/**
 * JSON as Go's encoding/json reads it into a struct, which is how flannel reads its config and leases: keys match
 * whatever their case, the last one wins, unknown keys are ignored.
 */
export type JsonObject = { readonly [key: string]: unknown };

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value that Go would store in the field `name` (ASCII), undefined where no key matches. */
export function goField(object: JsonObject, name: string): unknown {
  const wanted = name.toLowerCase();
  let found: unknown;
  for (const key of Object.keys(object)) {
    // What is as long is rarely another name; what is not can't be the same in lower case.
    if (key.length === name.length && (key === name || key.toLowerCase() === wanted)) found = object[key];
  }
  return found;
}

/**
 * The fields of these names (ASCII) as Go would store them, each under its very name. What is spelt so throughout, as
 * flannel and we write, is given back as it is.
 */
export function goFields(object: JsonObject, names: readonly string[]): JsonObject {
  for (const key of Object.keys(object)) {
    if (!names.includes(key)) return Object.fromEntries(names.map((name) => [name, goField(object, name)]));
  }
  return object;
}

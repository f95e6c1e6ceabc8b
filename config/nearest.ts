import { closest, distance } from 'fastest-levenshtein';

/** The known name that was probably meant by `name`, undefined where none is near enough to be a slip. */
function nearestName(name: string, known: readonly string[]): string | undefined {
  if (known.length === 0) return undefined;
  const candidate = closest(name, known);
  return distance(name, candidate) <= Math.max(1, Math.floor(name.length / 3)) ? candidate : undefined;
}

/** `; did you mean X?`, or nothing. */
export function hint(name: string, known: readonly string[], prefix = ''): string {
  const nearest = nearestName(name, known);
  return nearest === undefined ? '' : `; did you mean ${prefix}${nearest}?`;
}

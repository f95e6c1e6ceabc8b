/** Lines of the first that the second does not have, or not as often. */
function beyond(lines: readonly string[], others: readonly string[]): readonly string[] {
  const left = new Map<string, number>();
  for (const line of others) left.set(line, (left.get(line) ?? 0) + 1);
  return lines.filter((line) => {
    const spare = left.get(line) ?? 0;
    left.set(line, spare - 1);
    return spare <= 0;
  });
}

/** `- what lacks`, `+ what is too much`; empty: as it should be, in whatever order. */
export function difference(should: readonly string[], is: readonly string[]): readonly string[] {
  return [...beyond(should, is).map((line) => `- ${line}`), ...beyond(is, should).map((line) => `+ ${line}`)];
}

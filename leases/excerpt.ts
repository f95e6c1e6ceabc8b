/**
 * A short, printable piece of text from outside, for a reason or a log: nothing in it can move a terminal's cursor.
 * It is a copy: a slice would keep the whole text in memory for as long as the reason is kept.
 */
export function excerpt(text: string, limit = 80): string {
  const cut = text.slice(0, limit).replace(/[^\x20-\x7e]/g, '?');
  return text.length > limit ? `${Buffer.from(cut).toString('latin1')}…` : cut;
}

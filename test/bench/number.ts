/** Three significant digits at least, one behind the point at most where there are many before it. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '-';
  return value.toFixed(Math.abs(value) >= 100 ? 1 : 2);
}

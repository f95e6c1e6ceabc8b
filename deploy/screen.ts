/** What the demo prints. Colours only on a terminal that wants them. */
import { styleText } from 'node:util';

const coloured = process.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === '';

type Format = Parameters<typeof styleText>[0];

function paint(format: Format, text: string): string {
  return coloured ? styleText(format, text) : text;
}

export function say(text = ''): void {
  process.stdout.write(`${text}\n`);
}

let steps = 0;

export function heading(title: string): void {
  steps++;
  say(`\n${paint(['bold', 'cyan'], `${steps}. ${title}`)}`);
}

export function explain(...lines: readonly string[]): void {
  say(lines.map((line) => paint('dim', `   ${line}`)).join('\n'));
}

/** A command as typed on a host, and what it printed. */
export function show(where: string, command: string, output: string): void {
  say(`   ${paint('yellow', `${where}#`)} ${command}`);
  if (output.trim() === '') return;
  for (const line of output.trimEnd().split('\n')) say(`     ${line.trimEnd()}`);
}

/** Something that was seen to be so. */
export function observed(text: string): void {
  say(`   ${paint('green', coloured ? '✔' : 'ok')} ${text}`);
}

export function failed(text: string): void {
  say(`\n${paint(['bold', 'red'], 'FAILED')} ${text}`);
}

/** Left-aligned columns. */
export function table(rows: readonly (readonly string[])[]): void {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  for (const row of rows)
    say(
      `     ${row
        .map((cell, i) => cell.padEnd((widths[i] ?? 0) + 2))
        .join('')
        .trimEnd()}`,
    );
}

export function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}

/**
 * The file that a test stands in, by AVA's title: the file's path, its folders apart by ` › ` and less the folders that
 * all files of the run share, then the test's own name. A run of one file has no path in its titles.
 * @param files as given to AVA: `dist/test/e2e/demo.test.js`.
 */
export function fileOf(title: string, files: readonly string[]): string | undefined {
  if (files.length === 1) return files[0];
  const [best] = files
    .map((file) => ({ file, length: prefixLength(title, file) }))
    .filter(({ length }) => length > 0)
    .sort((a, b) => b.length - a.length);
  return best?.file;
}

function prefixLength(title: string, file: string): number {
  const parts = file.replace(/\.test\.js$/, '').split('/');
  const prefixes = parts.map((_, i) => `${parts.slice(i).join(' › ')} › `);
  return Math.max(0, ...prefixes.filter((prefix) => title.startsWith(prefix)).map((prefix) => prefix.length));
}

import { execFileSync } from 'node:child_process';
import { relative } from 'node:path';
import { inRepository } from './repository.ts';

export interface PackagedFile {
  readonly source: string;
  /** In the package. */
  readonly path: string;
}

let packages: readonly string[] | undefined;

/** Files and directories of the package as npm would install it: what was bundled, and the packages that it runs on. */
export function tartanPackage(): readonly PackagedFile[] {
  packages ??= execFileSync('npm', ['ls', '--omit=dev', '--all', '--parseable'], {
    cwd: inRepository('.'),
    encoding: 'utf8',
  })
    .trim()
    .split('\n')
    .slice(1);
  return [
    ...packages.map((source) => ({ source, path: relative(inRepository('.'), source) })),
    { source: inRepository('dist/bundle'), path: 'dist/bundle' },
    { source: inRepository('package.json'), path: 'package.json' },
  ];
}

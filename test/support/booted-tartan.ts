/** The agent on a host to be booted, installed as its README says. */
import { execFileSync } from 'node:child_process';
import { relative } from 'node:path';
import type { BootedHost } from './booted-host.ts';
import { inRepository } from './repository.ts';

const APP = '/usr/local/lib/tartan';

/** The package as npm would install it (what was compiled, and the packages that it runs on), and its unit. */
export function installTartan(host: BootedHost): void {
  const listed = execFileSync('npm', ['ls', '--omit=dev', '--all', '--parseable'], {
    cwd: inRepository('.'),
    encoding: 'utf8',
  });
  const packages = listed.trim().split('\n').slice(1);
  for (const path of packages) host.copy(path, `${APP}/${relative(inRepository('.'), path)}`);
  host.copy(inRepository('dist/bundle'), `${APP}/dist/bundle`);
  host.copy(inRepository('package.json'), `${APP}/package.json`);
  host.write(
    '/usr/local/bin/tartan',
    `#!/bin/sh\nexec ${process.execPath} ${APP}/dist/bundle/tartan.cjs "$@"\n`,
    0o755,
  );
  host.copy(inRepository('deploy/tartan.service'), '/etc/systemd/system/tartan.service');
}

import type { BootedHost } from './booted-host.ts';
import { inRepository } from './repository.ts';
import { tartanPackage } from './tartan-package.ts';

const APP = '/usr/local/lib/tartan';

/** The agent and its unit, on a host to be booted. */
export function installTartan(host: BootedHost): void {
  for (const { source, path } of tartanPackage()) host.copy(source, `${APP}/${path}`);
  host.write(
    '/usr/local/bin/tartan',
    `#!/bin/sh\nexec ${process.execPath} ${APP}/dist/bundle/tartan.cjs "$@"\n`,
    0o755,
  );
  host.copy(inRepository('deploy/tartan.service'), '/etc/systemd/system/tartan.service');
}

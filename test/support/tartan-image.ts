/** The image that deploy/Dockerfile makes, of this machine's node and firewall programs. */
import { existsSync } from 'node:fs';
import { Image } from './image.ts';
import { tartanPackage } from './tartan-package.ts';

const APP = '/opt/tartan';
const PROGRAMS = ['nft', 'xtables-nft-multi', 'xtables-legacy-multi'];
const MATCHES = '/usr/lib/x86_64-linux-gnu/xtables';

/** A tar, as `docker import --change 'ENTRYPOINT ["tartan"]'` takes it. */
export function tartanImageTar(): Buffer {
  return Image.make((image) => {
    image.busybox('sh', 'env', 'cat', 'echo');
    image.program('node', process.execPath);
    for (const program of PROGRAMS) image.program(program);
    for (const version of ['nft', 'legacy']) {
      for (const family of ['iptables', 'ip6tables']) linkTables(image, family, version);
    }
    if (existsSync(MATCHES)) image.copy(MATCHES);
    for (const { source, path } of tartanPackage()) image.copy(source, `${APP}/${path}`);
    image.link(`${APP}/dist/bundle/tartan.cjs`, '/usr/local/bin/tartan');
    image.link('/bin', '/usr/bin');
  });
}

/** As Debian's package has it, whose `iptables` is the one on nftables. */
function linkTables(image: Image, family: string, version: string): void {
  for (const suffix of ['', '-save', '-restore']) {
    const program = `xtables-${version}-multi`;
    image.link(program, `/bin/${family}-${version}${suffix}`);
    if (version === 'nft') image.link(program, `/bin/${family}${suffix}`);
  }
}

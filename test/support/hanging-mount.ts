import type { Host } from './host.ts';

/** A file system with nobody behind it: whoever opens a file there waits. $1: where. */
const MOUNT = `exec 3<>/dev/fuse
mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 hanging "$1" && echo it hangs
exec sleep infinity`;

/** From now on the directory is on a disk that hangs. @returns what gives it back as it was */
export async function hangDirectory(host: Host, directory: string): Promise<() => Promise<void>> {
  const server = host.spawn('sh', ['-c', MOUNT, 'sh', directory]);
  await server.until(/it hangs/);
  return async () => {
    await server.kill();
    await host.run('umount', ['--lazy', directory]);
  };
}

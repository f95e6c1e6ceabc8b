/** etcd with users, and with TLS. */
import test, { type ExecutionContext } from 'ava';
import { eventually } from '../../support/eventually.ts';
import { makePki, type Pki } from '../../support/pki.ts';
import { type Scene, scenesOn, VXLAN } from './scene.ts';

const scenes = scenesOn();
const PASSWORD = 'pa55';
const USER = ['--etcd-username=tartan', `--etcd-password=${PASSWORD}`];

/** Switches authentication on; the user `tartan` may read and write `grants`: keys, or from a key to another. */
async function withUser(t: ExecutionContext, scene: Scene, grants: readonly string[]): Promise<void> {
  const { etcd } = scene.lab;
  const root = '--user=root:rootpw';
  const first = ['user add root:rootpw', 'user grant-role root root', `user add tartan:${PASSWORD}`, 'role add tartan'];
  for (const one of first) await etcd.ctl(one.split(' '));
  for (const grant of grants) await etcd.ctl(`role grant-permission tartan readwrite ${grant}`.split(' '));
  for (const one of ['user grant-role tartan tartan', 'auth enable']) await etcd.ctl(one.split(' '));
  t.teardown(async () => {
    const last = ['auth disable', 'user delete tartan', 'role delete tartan', 'user delete root'];
    for (const one of last) await etcd.ctl([root, ...one.split(' ')]).catch(() => etcd.ctl(one.split(' ')));
  });
}

async function leaseText(scene: Scene): Promise<string> {
  return await scene.lab.etcd.ctl(['--user=root:rootpw', 'get', '--prefix', `${scene.prefix}/`]);
}

test('user and password: the agent and the commands', async (t) => {
  const scene = await scenes(t);
  if (!scene) return;
  const host = scene.host(1);
  await withUser(t, scene, [`${scene.prefix}/ ${scene.prefix}0`]);
  const agent = await scene.ready(host, USER);
  const text = await leaseText(scene);
  t.regex(text, new RegExp(`"PublicIP":"${host.ip}"[\\s\\S]*/tartan/addresses/${host.ip}`));
  t.false(agent.lines.some((line) => line.includes('forbids')));
  const env = { TARTAN_ETCD_USERNAME: 'tartan', TARTAN_ETCD_PASSWORD: PASSWORD };
  t.regex((await scene.run(host, ['leases'], { env })).stdout, new RegExp(host.ip));
  t.is((await scene.run(host, ['leases'])).status, 6);
  t.is((await scene.run(host, ['config', 'set'], { env, input: VXLAN })).status, 0);
  t.is((await scene.run(host, ['down', '--release'], { env })).status, 0);
});

test("a user that may touch flannel's keys only: flannel's rule, and a warning", async (t) => {
  const scene = await scenes(t, { hosts: 2 });
  if (!scene) return;
  const host = scene.host(1);
  await withUser(t, scene, [`${scene.prefix}/config ${scene.prefix}/subnets0`]);
  const agent = await scene.ready(host, USER);
  t.true(agent.lines.some((line) => / warn .*forbids tartan's own keys/.test(line)));
  const text = await leaseText(scene);
  t.regex(text, new RegExp(`"PublicIP":"${host.ip}"`));
  t.notRegex(text, /\/tartan\//);
  await agent.stop();
  await scene.ready(host, USER);
  t.is(await leaseText(scene), text);
  // Who comes with the same address takes the lease, as with flannel.
  const other = await scene.ready(scene.host(2), [...USER, `--public-ip=${host.ip}`]);
  t.true(other.running);
  t.is((await leaseText(scene)).match(/"PublicIP"/g)?.length, 1);
});

test('a wrong password, and a user without rights: told, and tried again until it is right', async (t) => {
  const scene = await scenes(t, { config: undefined });
  if (!scene) return;
  const host = scene.host(1);
  await withUser(t, scene, ['/elsewhere']);
  const wrong = scene.start(host, ['--etcd-username=tartan', '--etcd-password=other']);
  await scene.status(host, wrong, ({ problems }) => /wrong user name or password/.test(problems.join()));
  await wrong.stop();
  const agent = scene.start(host, USER);
  await scene.status(host, agent, ({ problems }) => /grant its role readwrite on the prefix/.test(problems.join()));
  const root = '--user=root:rootpw';
  const grant = `role grant-permission tartan readwrite ${scene.prefix}/ ${scene.prefix}0`;
  await scene.lab.etcd.ctl([root, ...grant.split(' ')]);
  await scene.lab.etcd.ctl([root, 'put', `${scene.prefix}/config`, VXLAN]);
  const { problems } = await scene.isReady(host, agent);
  t.deepEqual(problems, []);
});

/** An etcd on the host itself, since the certificate is for 127.0.0.1. */
async function tlsEtcd(scene: Scene, pki: Pki): Promise<void> {
  const url = 'https://127.0.0.1:2379';
  const { certFile, keyFile } = pki.server;
  const tls = [
    `--cert-file=${certFile}`,
    `--key-file=${keyFile}`,
    `--trusted-ca-file=${pki.caFile}`,
    '--client-cert-auth',
  ];
  const listen = [
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    '--listen-peer-urls=http://127.0.0.1:2380',
  ];
  const host = scene.host(1);
  const etcd = host.spawn('etcd', ['--data-dir=/run/etcd', '--logger=zap', '--unsafe-no-fsync', ...listen, ...tls]);
  const client = await pki.client('operator');
  const as = [`--endpoints=${url}`, `--cacert=${pki.caFile}`, `--cert=${client.certFile}`, `--key=${client.keyFile}`];
  await eventually(
    'etcd takes the config over TLS',
    async () => {
      const put = [...as, 'put', `${scene.prefix}/config`, VXLAN];
      return (await host.exec('etcdctl', put, { env: { ETCDCTL_API: '3' } })).status === 0;
    },
    { context: () => etcd.tail() },
  );
}

test('TLS with client certificates; without one, or with another authority, what is wrong is told', async (t) => {
  const scene = await scenes(t, { config: undefined });
  if (!scene) return;
  const host = scene.host(1);
  const pki = await makePki(t);
  await tlsEtcd(scene, pki);
  const { certFile, keyFile } = await pki.client('tartan');
  const at = '--etcd-endpoints=https://127.0.0.1:2379';
  const own = [`--etcd-certfile=${certFile}`, `--etcd-keyfile=${keyFile}`];
  const says = async (flags: readonly string[], wanted: RegExp): Promise<void> => {
    const agent = scene.start(host, [at, ...flags]);
    await scene.status(host, agent, ({ problems }) => wanted.test(problems.join()), `says ${wanted}`);
    await agent.stop();
  };
  await says([`--etcd-cafile=${pki.caFile}`], /TLS|did not answer/);
  const stranger = await makePki(t);
  await says([`--etcd-cafile=${stranger.caFile}`, ...own], /the TLS connection failed; check the CA/);
  const absent = scene.start(host, [at, '--etcd-cafile=/none.pem', ...own]);
  t.is((await absent.exited).status, 5);
  t.regex(absent.lines.join('\n'), /--etcd-cafile: cannot read \/none\.pem/);
  const agent = scene.start(host, [at, `--etcd-cafile=${pki.caFile}`, ...own]);
  await scene.isReady(host, agent);
  const env = {
    ...{ FLANNELD_ETCD_CAFILE: pki.caFile, FLANNELD_ETCD_CERTFILE: certFile, FLANNELD_ETCD_KEYFILE: keyFile },
    TARTAN_ETCD_ENDPOINTS: 'https://127.0.0.1:2379',
  };
  t.regex((await scene.run(host, ['leases'], { env })).stdout, new RegExp(host.ip));
});

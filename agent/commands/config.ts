import { text as readAll } from 'node:stream/consumers';
import type { Underlay } from '../../backends/backend.ts';
import { createBackend } from '../../backends/backends.ts';
import { parseIp } from '../../config/address.ts';
import { TartanError } from '../../config/errors.ts';
import type { Invocation } from '../../config/invocation.ts';
import type { NetworkConfig } from '../../config/network-config.ts';
import { parseNetworkConfig } from '../../config/network-config.ts';
import { compareNetworkConfigs, orphans } from '../../config/network-config-change.ts';
import type { ClusterView } from '../../leases/registry.ts';
import { keysUnder, readView } from '../../leases/registry.ts';
import type { Store } from '../../leases/store.ts';
import { readTextFile } from '../atomic-file.ts';
import { familiesOf } from '../config-families.ts';
import { openStore } from '../etcd-connection.ts';
import { byAddress, holderOf } from '../lease-list.ts';
import { dual, table } from '../status.ts';

/** How often a config is judged anew where hosts claim leases meanwhile. */
const TRIES = 10;

const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** A host like any other: whether the backend's keys make sense does not depend on the interface. */
function someUnderlay(): Underlay {
  const [ip, ip6] = [parseIp('192.0.2.1'), parseIp('2001:db8::1')];
  const hostAddresses = new Set([ip, ip6].filter((one) => one !== undefined));
  return { index: 2, dev: 'eth0', mtuBytes: 1500, ip, ip6, publicIp: ip, publicIp6: ip6, hostAddresses };
}

function validate(text: string): NetworkConfig {
  const parsed = parseNetworkConfig(text);
  const fail = (problems: readonly string[]): never => {
    const list = problems.map((problem) => `\n  ${problem}`).join('');
    throw new TartanError('CONFIG_INVALID', `the network config is not valid:${list}`, { data: { problems } });
  };
  if (!parsed.ok) return fail(parsed.problems);
  const { config } = parsed;
  const families = familiesOf(config);
  const backend = createBackend(config.backendType, config.backend, families, someUnderlay());
  return backend.ok ? config : fail(backend.problems);
}

/** From a file, from standard input, or the JSON itself: no file has such a name. */
async function readInput(file = '-'): Promise<string> {
  const text = await (file === '-' ? readAll(process.stdin) : readArgument(file));
  if (text === undefined) throw new TartanError('USAGE', `there is no file ${file}`);
  if (text.trim() !== '') return text.trim();
  const what = file === '-' ? 'standard input' : file;
  throw new TartanError('USAGE', `${what} is empty; the network config comes from FILE, JSON or standard input`);
}

async function readArgument(argument: string): Promise<string | undefined> {
  return argument.trimStart().startsWith('{') ? argument : await readTextFile(argument);
}

/** What the new config does to the leases and agents that there are, in lines. Throws where it orphans leases. */
function judge(config: NetworkConfig, view: ClusterView, force: boolean): readonly string[] {
  const lost = orphans(config, view.leases).toSorted(byAddress);
  const lines: string[] = [];
  if (lost.length > 0) {
    const rows = lost.map((lease) => [
      ...[`  ${dual(lease.subnet, lease.subnet6)}`, dual(lease.publicIp, lease.publicIp6), holderOf(lease)],
    ]);
    const message = `live leases would be outside the network (${lost.length}):\n${table(rows)}`;
    if (!force)
      throw new TartanError('CONFIG_ORPHANS', `${message}\n"tartan config set --force" stores it all the same.`);
    lines.push(message);
  }
  const before = view.config && parseNetworkConfig(view.config.value);
  if (!before?.ok) return lines;
  const { live, restart } = compareNetworkConfigs(before.config, config);
  lines.push(...live.map((change) => `running agents follow: ${change}`));
  lines.push(...restart.map((change) => `needs every agent restarted: ${change}`));
  return lines;
}

function describe({ ranges, backendType }: NetworkConfig): string {
  const parts = [ranges[4], ranges[6]].flatMap((range) =>
    range ? [`${range.network} in /${range.length}s from ${range.min} to ${range.max}`] : [],
  );
  return `${parts.join(', ')}, backend ${backendType}`;
}

async function get(store: Store, key: string): Promise<void> {
  const { kv } = await store.get(key);
  if (!kv)
    throw new TartanError(
      'CONFIG_MISSING',
      `there is no network config under ${key}; store one: tartan config set FILE`,
    );
  say(kv.value);
}

/**
 * Stores the config, if neither it nor a lease has changed since it was judged; else it is judged again. Forced, leases
 * don't matter. Rejects with CONFIG_ORPHANS, or ETCD_UNAVAILABLE where others are always faster.
 * @returns what it does to the leases and agents that there are, in lines.
 */
export async function storeConfig(
  store: Store,
  prefix: string,
  config: NetworkConfig,
  force: boolean,
): Promise<readonly string[]> {
  const { config: key, subnets } = keysUnder(prefix);
  for (let tries = 0; tries < TRIES; tries += 1) {
    const view = await readView(store, prefix);
    const lines = judge(config, view, force);
    const isSame = { key, modRevision: view.config?.modRevision ?? 0 };
    const compare = force ? [isSame] : [isSame, { range: subnets, unchangedSince: view.revision }];
    const put = { put: key, value: config.text, lease: '0' };
    if ((await store.txn({ compare, success: [put], failure: [] })).succeeded) return lines;
  }
  const message = `the config or the leases under ${prefix} changed during each of ${TRIES} tries to store it; try again`;
  throw new TartanError('ETCD_UNAVAILABLE', message);
}

async function set(store: Store, { options, args }: Invocation): Promise<void> {
  const config = validate(await readInput(args[0]));
  for (const line of await storeConfig(store, options.etcdPrefix, config, options.force)) say(line);
  say(`stored under ${keysUnder(options.etcdPrefix).config}: ${describe(config)}`);
}

async function check(store: Store, { options, args }: Invocation): Promise<void> {
  const config = validate(await readInput(args[0]));
  const lines = await readView(store, options.etcdPrefix).then(
    (view) => judge(config, view, false),
    (error: unknown) => {
      if (!(error instanceof TartanError) || !error.code.startsWith('ETCD_')) throw error;
      return [`not compared with the leases that there are: ${error.message}`];
    },
  );
  say(`valid: ${describe(config)}`);
  for (const line of lines) say(line);
}

/** `tartan config get|set|check`. Rejects with CONFIG_INVALID, CONFIG_ORPHANS or CONFIG_MISSING. */
export async function config(invocation: Invocation): Promise<number> {
  const store = await openStore(invocation.options);
  try {
    if (invocation.command === 'config get') await get(store, keysUnder(invocation.options.etcdPrefix).config);
    else if (invocation.command === 'config set') await set(store, invocation);
    else await check(store, invocation);
    return 0;
  } finally {
    await store.close();
  }
}

import type { ErrorCode } from '../config/errors.ts';
import type { NetworkConfig } from '../config/network-config.ts';
import { parseNetworkConfig } from '../config/network-config.ts';
import { compareNetworkConfigs } from '../config/network-config-change.ts';

/** What a running agent makes of the config key as it is now. */
export type ConfigChange =
  | { readonly kind: 'none' }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unusable'; readonly problems: readonly string[] }
  /** Some of it can't be followed, so none of it is: never half applied. */
  | { readonly kind: 'needs-restart'; readonly changes: readonly string[] }
  | { readonly kind: 'follow'; readonly config: NetworkConfig; readonly changes: readonly string[] };

/** @param text the config key's value, undefined where the key is gone. */
export function judgeConfig(running: NetworkConfig, text: string | undefined): ConfigChange {
  if (text === undefined) return { kind: 'gone' };
  if (text === running.text) return { kind: 'none' };
  const parsed = parseNetworkConfig(text);
  if (!parsed.ok) return { kind: 'unusable', problems: parsed.problems };
  const { live, restart } = compareNetworkConfigs(running, parsed.config);
  if (restart.length > 0) return { kind: 'needs-restart', changes: restart };
  return { kind: 'follow', config: parsed.config, changes: live };
}

/** What status says of it, undefined where there is nothing to mend. */
export function configProblem(change: ConfigChange): string | undefined {
  switch (change.kind) {
    case 'gone':
      return 'the network config is gone from etcd; going on with the last one (store it again: tartan config set FILE)';
    case 'unusable':
      return `the new network config is unusable, going on with the old one: ${change.problems.join('; ')}`;
    case 'needs-restart':
      return `restart the agent to follow the network config: ${change.changes.join('; ')}`;
    case 'none':
    case 'follow':
      return undefined;
  }
}

/** By which code the runbook knows it. */
export function configProblemCode({ kind }: ConfigChange): ErrorCode | undefined {
  if (kind === 'gone') return 'CONFIG_MISSING';
  return kind === 'unusable' ? 'CONFIG_INVALID' : undefined;
}

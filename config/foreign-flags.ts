/** Flags of flanneld that tartan knows and has no use for: those of its log library and of its Kubernetes mode. */
export interface ForeignFlag {
  readonly isBoolean: boolean;
  /** Values that mean what tartan does anyway; undefined: any value is let through, with a warning. */
  readonly harmless: readonly string[] | undefined;
}

const LOG_SWITCH: ForeignFlag = { isBoolean: true, harmless: undefined };
const LOG_VALUE: ForeignFlag = { isBoolean: false, harmless: undefined };

function kubernetes(...harmless: readonly string[]): ForeignFlag {
  return { isBoolean: false, harmless };
}

const FALSE = ['false', 'FALSE', 'False', 'f', 'F', '0'];
const TRUE = ['true', 'TRUE', 'True', 't', 'T', '1'];

export const FOREIGN_FLAGS: ReadonlyMap<string, ForeignFlag> = new Map([
  ['v', LOG_VALUE],
  ['vmodule', LOG_VALUE],
  ['log_backtrace_at', LOG_VALUE],
  ['log_dir', LOG_VALUE],
  ['log_file', LOG_VALUE],
  ['log_file_max_size', LOG_VALUE],
  ['stderrthreshold', LOG_VALUE],
  ['alsologtostderrthreshold', LOG_VALUE],
  ['logtostderr', LOG_SWITCH],
  ['alsologtostderr', LOG_SWITCH],
  ['add_dir_header', LOG_SWITCH],
  ['skip_headers', LOG_SWITCH],
  ['skip_log_headers', LOG_SWITCH],
  ['one_output', LOG_SWITCH],
  ['legacy_stderr_threshold_behavior', LOG_SWITCH],
  ['kube-subnet-mgr', { isBoolean: true, harmless: FALSE }],
  ['set-node-network-unavailable', { isBoolean: true, harmless: TRUE }],
  ['kube-api-url', kubernetes('')],
  ['kubeconfig-file', kubernetes('')],
  ['kube-annotation-prefix', kubernetes('', 'flannel.alpha.coreos.com')],
  ['net-config-path', kubernetes('', '/etc/kube-flannel/net-conf.json')],
]);

/** What is to be said about the flag with that value, undefined where nothing is. */
export function judgeForeign(
  flag: ForeignFlag,
  value: string,
): { readonly refused: string } | { readonly warning: string } | undefined {
  if (flag.harmless === undefined) return { warning: "has no effect; tartan's own are --log-level and --log-format" };
  if (flag.harmless.includes(value)) return undefined;
  return { refused: 'tartan keeps leases in etcd only so far; the Kubernetes subnet manager is not offered' };
}

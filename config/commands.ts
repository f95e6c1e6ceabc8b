/** The commands of the `tartan` program. The first words on the command line name one; without any it is `run`. */
export const COMMANDS = {
  run: { args: '', maxArgs: 0, summary: 'Lease a subnet and keep this host in step with its peers (the default)' },
  'config get': { args: '', maxArgs: 0, summary: 'Print the network config that etcd holds' },
  'config set': {
    args: '[FILE|JSON]',
    maxArgs: 1,
    summary: 'Check a network config (FILE, the JSON itself, or standard input) and store it',
  },
  'config check': {
    args: '[FILE|JSON]',
    maxArgs: 1,
    summary: 'Check a network config (FILE, the JSON itself, or standard input) without storing it',
  },
  leases: { args: '', maxArgs: 0, summary: 'List every lease' },
  status: { args: '', maxArgs: 0, summary: 'Show what the agent on this host does, and what is amiss' },
  wait: { args: '', maxArgs: 0, summary: 'Wait until the agent on this host is ready' },
  down: {
    args: '',
    maxArgs: 0,
    summary: "Stop the agent and take this host's network down: device, routes, neighbours, files",
  },
  'docker opts': {
    args: '',
    maxArgs: 0,
    summary: 'Write Docker daemon options from subnet.env, as mk-docker-opts.sh does',
  },
  'docker check': {
    args: '',
    maxArgs: 0,
    summary: 'Tell each thing that would stop a packet at the Docker of this host, and how to mend it',
  },
  help: { args: '[COMMAND]', maxArgs: 2, summary: 'Explain a command' },
  version: { args: '', maxArgs: 0, summary: 'Print the version' },
} as const satisfies Record<string, { readonly args: string; readonly maxArgs: number; readonly summary: string }>;

export type Command = keyof typeof COMMANDS;

export function isCommand(text: string): text is Command {
  return Object.hasOwn(COMMANDS, text);
}

export const COMMAND_NAMES: readonly Command[] = Object.keys(COMMANDS).filter(isCommand);

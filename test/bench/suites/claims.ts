import { PREFIX } from '../../support/agent.ts';
import { createLab, type Lab } from '../../support/hosts.ts';
import { CLAIM_NETWORK } from '../claim-range.ts';
import type { Claims } from '../instant.ts';
import { cpuSeconds } from '../processor-time.ts';
import { isEvent, LIMIT_MS, launch } from '../programs.ts';
import { Notebook } from '../statistics.ts';
import type { Plan, Suite } from '../suite.ts';

const AGENTS = { reduced: 100, usual: 1000, full: 1000 } as const;
/** Each keeps a core of its own busy. */
const PROCESSES = 2;
/** Of each process. With one for each agent the time to make them would be the figure. */
const CONNECTIONS = 50;
const WAYS = { tartan: 'tartan', flannel: "flannel's way" } as const;

interface Outcome {
  readonly ms: number;
  readonly transactions: number;
  readonly requests: number;
  readonly etcdMs: number;
  readonly agentsMs: number;
}

function check(all: readonly Claims[], keys: readonly string[], agents: number): void {
  const claimed = all.flatMap((one) => one.claimed.map(({ key }) => key));
  const unique = new Set(claimed);
  const stands = keys.filter((key) => unique.has(key)).length;
  if (claimed.length === agents && unique.size === agents && keys.length === agents && stands === agents) return;
  throw new Error(`${claimed.length} claims of ${unique.size} subnets, ${keys.length} leases in etcd`);
}

function judge(all: readonly Claims[], agents: number, etcdMs: number): Outcome {
  const sum = (of: (one: Claims) => number) => all.reduce((total, one) => total + of(one), 0);
  const from = Math.min(...all.map(({ startedAt }) => startedAt));
  const to = Math.max(...all.map(({ endedAt }) => endedAt));
  return {
    ms: to - from,
    transactions: sum(({ claimed }) => claimed.reduce((total, { transactions }) => total + transactions, 0)) / agents,
    requests: sum(({ requests }) => requests.txn + requests.list + requests.grant + requests.other) / agents,
    etcdMs,
    agentsMs: sum(({ cpuMs }) => cpuMs),
  };
}

async function claim(lab: Lab, way: keyof typeof WAYS, agents: number): Promise<Outcome> {
  const each = agents / PROCESSES;
  const claimants = Array.from({ length: PROCESSES }, (_, i) =>
    launch(lab.switch, 'claimant.js', [lab.etcd.endpoint, way, String(i * each), String(each), String(CONNECTIONS)]),
  );
  await Promise.all(claimants.map((one) => one.until((line) => isEvent(line, 'ready'), LIMIT_MS)));
  const etcd = lab.etcd.process?.pid ?? -1;
  const before = await cpuSeconds(etcd);
  for (const one of claimants) one.signal('SIGUSR2');
  const lines = await Promise.all(claimants.map((one) => one.until((line) => isEvent(line, 'claimed'), 2 * LIMIT_MS)));
  const etcdMs = ((await cpuSeconds(etcd)) - before) * 1000;
  const all: Claims[] = lines.map((line) => JSON.parse(line));
  check(
    all,
    (await lab.etcd.list(`${PREFIX}/subnets/`)).map(({ key }) => key),
    agents,
  );
  await Promise.all(claimants.map(({ exited }) => exited));
  for (const what of ['/subnets/', '/tartan/', '-of-']) await lab.etcd.ctl(['del', '--prefix', `${PREFIX}${what}`]);
  return judge(all, agents, etcdMs);
}

async function measure(lab: Lab, plan: Plan, notes: Notebook): Promise<void> {
  const agents = AGENTS[plan.size];
  for (let run = 0; run < plan.runs; run++) {
    for (const way of ['tartan', 'flannel'] as const) {
      plan.say(`claims: run ${run + 1} of ${plan.runs}, ${WAYS[way]}`);
      const { ms, transactions, requests, etcdMs, agentsMs } = await claim(lab, way, agents);
      notes.add('until the last one holds a lease', 'ms', WAYS[way], ms);
      notes.add('transactions that claim, each', '', WAYS[way], transactions);
      notes.add('requests to etcd in all, each', '', WAYS[way], requests);
      notes.add("etcd's processor time", 'ms', WAYS[way], etcdMs);
      notes.add("the agents' processor time, all on this machine", 'ms', WAYS[way], agentsMs);
    }
  }
  notes.aim('until the last one holds a lease', 2000);
  notes.aim('transactions that claim, each', 2.2);
}

export const claims: Suite = {
  name: 'claims',
  title:
    'a thousand agents without a kernel, all of which have seen an empty cluster, claim at once in 1,024 subnets; most of the time is theirs, who have hosts of their own otherwise',
  run: async (plan) => {
    const lab = await createLab({ hosts: 0 });
    try {
      await lab.etcd.put(`${PREFIX}/config`, JSON.stringify(CLAIM_NETWORK));
      const notes = new Notebook();
      await measure(lab, plan, notes);
      return notes.figures;
    } finally {
      lab.destroy();
    }
  },
};

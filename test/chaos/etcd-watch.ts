/** etcd's changes as `etcdctl watch` prints them: a client of another language. */
import type { Lab } from '../support/hosts.ts';
import type { EtcdEvent } from '../support/lease-history.ts';
import type { LabProcess } from '../support/process.ts';

interface RawEvent {
  readonly type?: number;
  readonly kv: { readonly key: string; readonly value?: string; readonly mod_revision: number };
}

interface RawAnswer {
  readonly Header: { readonly revision: number };
  readonly Events?: readonly RawEvent[] | null;
  readonly CompactRevision?: number;
}

const DELETE = 1;

function decode(base64: string | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString();
}

function eventOf({ type, kv }: RawEvent): EtcdEvent {
  return {
    type: type === DELETE ? 'delete' : 'put',
    key: decode(kv.key),
    value: decode(kv.value),
    revision: kv.mod_revision,
  };
}

/** One line of its output: events of whole revisions. */
function parseWatchLine(line: string): readonly EtcdEvent[] {
  const answer: RawAnswer = JSON.parse(line);
  return (answer.Events ?? []).map(eventOf);
}

/** Watches a prefix from `revision` on. `onEvents` gets whole revisions. */
export function watchEtcd(
  lab: Lab,
  { prefix, revision }: { readonly prefix: string; readonly revision: number },
  onEvents: (events: readonly EtcdEvent[]) => void,
): LabProcess {
  const env = { ETCDCTL_API: '3', ETCDCTL_ENDPOINTS: lab.etcd.endpoint };
  const args = ['watch', '--prefix', prefix, `--rev=${revision}`, '-w', 'json'];
  const watch = lab.switch.spawn('etcdctl', args, { env });
  watch.onLine((line) => {
    // Besides answers it tells of connections that it lost.
    if (line.startsWith('{"Header"')) onEvents(parseWatchLine(line));
  });
  return watch;
}

/**
 * The leases as etcd had them, revision by revision, read by rules of its own: none of the agent's code judges here.
 * Leases that the run itself put to do harm are nobody's, and don't count.
 */
export interface EtcdEvent {
  readonly type: 'put' | 'delete';
  readonly key: string;
  /** Empty for a deletion. */
  readonly value: string;
  readonly revision: number;
}

export interface Lease {
  /** `10.5.3.0/24` */
  readonly subnet: string;
  readonly publicIp: string;
  readonly mac: string;
  readonly node: string;
}

export interface LeaseChange {
  readonly revision: number;
  readonly before: Lease | undefined;
  readonly after: Lease | undefined;
}

interface Raw {
  readonly PublicIP?: string;
  readonly BackendData?: { readonly VtepMAC?: string };
  readonly Tartan?: { readonly node?: string };
}

function parse(key: string, value: string): Lease | undefined {
  const [, base, bits] = /\/subnets\/(\d+\.\d+\.\d+\.\d+)-(\d+)$/.exec(key) ?? [];
  if (base === undefined) return undefined;
  try {
    const raw: Raw = JSON.parse(value);
    const { PublicIP: publicIp, BackendData, Tartan } = raw;
    if (publicIp === undefined || Tartan?.node === undefined) return undefined;
    return { subnet: `${base}/${bits}`, publicIp, mac: BackendData?.VtepMAC ?? '', node: Tartan.node };
  } catch {
    return undefined;
  }
}

interface Range {
  readonly first: number;
  readonly last: number;
}

function rangeOf(subnet: string): Range {
  const [base = '', bits = '32'] = subnet.split('/');
  const number = base.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
  const size = 2 ** (32 - Number(bits));
  const first = Math.floor(number / size) * size;
  return { first, last: first + size - 1 };
}

function overlap(one: string, other: string): boolean {
  const [a, b] = [rangeOf(one), rangeOf(other)];
  return a.first <= b.last && b.first <= a.last;
}

/** What two leases that exist at one time must not share; undefined where they share nothing. */
function clash(one: Lease, other: Lease): string | undefined {
  if (overlap(one.subnet, other.subnet)) return `${one.subnet} and ${other.subnet} overlap`;
  if (one.publicIp === other.publicIp) return `${one.subnet} and ${other.subnet} both are ${one.publicIp}'s`;
  if (one.node === other.node) return `${one.subnet} and ${other.subnet} both are node ${one.node}'s`;
  return undefined;
}

export class LeaseHistory {
  readonly #leases = new Map<string, Lease>();
  /** Everybody who ever held a subnet, in order. */
  readonly #holders = new Map<string, string[]>();
  /** Every clash that ever was, with its revision. */
  readonly violations: string[] = [];
  revision = 0;

  get leases(): readonly Lease[] {
    return [...this.#leases.values()];
  }

  of(publicIp: string): Lease | undefined {
    return this.leases.find((lease) => lease.publicIp === publicIp);
  }

  /** Whether somebody else than `publicIp` has ever held the subnet. */
  wasAnothers(subnet: string, publicIp: string): boolean {
    return (this.#holders.get(subnet) ?? []).some((holder) => holder !== publicIp);
  }

  /** @param events in order, of whole revisions */
  apply(events: readonly EtcdEvent[]): readonly LeaseChange[] {
    const changes: LeaseChange[] = [];
    for (const [i, event] of events.entries()) {
      const change = this.#applyOne(event);
      if (change !== undefined) changes.push(change);
      // A transaction's puts and deletions have one revision: judged when it is whole.
      if (events[i + 1]?.revision !== event.revision) this.#judge(event.revision);
    }
    return changes;
  }

  #applyOne({ key, value, revision }: EtcdEvent): LeaseChange | undefined {
    this.revision = revision;
    const before = this.#leases.get(key);
    const after = parse(key, value);
    if (after === undefined) this.#leases.delete(key);
    else this.#leases.set(key, after);
    if (after !== undefined)
      this.#holders.set(after.subnet, [...(this.#holders.get(after.subnet) ?? []), after.publicIp]);
    return before === undefined && after === undefined ? undefined : { revision, before, after };
  }

  #judge(revision: number): void {
    const leases = this.leases;
    for (const [i, one] of leases.entries()) {
      for (const other of leases.slice(i + 1)) {
        const what = clash(one, other);
        if (what !== undefined) this.violations.push(`revision ${revision}: ${what}`);
      }
    }
  }
}

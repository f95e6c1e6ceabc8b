/**
 * What has become of the external interface since it was selected (pure). A host that runs stays where it is as long as
 * it can: a VPN that takes the default route, or a second address, must not move the underlay.
 *
 *   the interface still has its addresses        stays; its MTU and the host's addresses are followed
 *   they are gone, or the interface is           selected anew, by what the operator asked for
 *   nothing can be selected, but it was renamed  stays, under its new name: and that is to be told
 *   nothing can be selected                      nothing changes: and that is to be told
 */
import { type Ip, isLinkLocal } from '../config/address.ts';
import type { Underlay } from './backend.ts';
import { type HostFacts, selectUnderlay, type UnderlayWish } from './external-interface.ts';
import type { LinkInfo } from './state.ts';

export type UnderlayChange =
  /** `note`: what the operator should mend all the same. */
  | { readonly ok: true; readonly underlay: Underlay; readonly note: string | undefined }
  /** `reason`: what happened and what to do. */
  | { readonly ok: false; readonly reason: string };

export function followUnderlay(current: Underlay, wish: UnderlayWish, facts: HostFacts): UnderlayChange {
  const same = facts.links.find(({ name }) => name === current.dev);
  if (same && isIntact(same, current, facts)) return { ok: true, underlay: on(same, current, facts), note: undefined };
  const what = whatHappened(current, facts);
  const selected = selectUnderlay(wish, facts);
  if (selected.ok && !fallsToLinkLocal(current, selected.underlay)) {
    return { ok: true, underlay: selected.underlay, note: undefined };
  }
  const renamed = facts.links.find(({ index }) => index === current.index);
  if (renamed && isIntact(renamed, current, facts)) {
    const note = `${what}; it is still used, but a restart would not find it: name it ${current.dev} again, or change --iface`;
    return { ok: true, underlay: on(renamed, current, facts), note };
  }
  const found = selected.ok ? `${selected.underlay.dev} has only link-local addresses` : selected.reason;
  return {
    ok: false,
    reason: `${what}, and there is nothing to go on with: ${found}; give it back, or restart with another --iface`,
  };
}

/** Whether two underlays are the same in all that anything is made of: of the host's other addresses nothing is. */
export function sameUnderlay(a: Underlay, b: Underlay): boolean {
  const fields = ['index', 'dev', 'mtuBytes', 'ip', 'ip6', 'publicIp', 'publicIp6'] as const;
  const isLocal = ({ hostAddresses }: Underlay, ip: Ip | undefined): boolean =>
    ip !== undefined && hostAddresses.has(ip);
  return (
    fields.every((field) => a[field] === b[field]) &&
    isLocal(a, a.publicIp) === isLocal(b, b.publicIp) &&
    isLocal(a, a.publicIp6) === isLocal(b, b.publicIp6)
  );
}

/** Whether the interface is there under its name, with the addresses that were chosen of it. */
export function stays(current: Underlay, facts: Pick<HostFacts, 'links' | 'addresses'>): boolean {
  const same = facts.links.find(({ name }) => name === current.dev);
  return same !== undefined && isIntact(same, current, facts);
}

function isIntact(link: LinkInfo, current: Underlay, { addresses }: Pick<HostFacts, 'addresses'>): boolean {
  const has = (ip: Ip | undefined): boolean =>
    ip === undefined || addresses.some((address) => address.dev === link.name && address.ip === ip);
  return link.mtuBytes > 0 && has(current.ip) && has(current.ip6);
}

function on({ index, name, mtuBytes }: LinkInfo, current: Underlay, { addresses }: HostFacts): Underlay {
  return { ...current, index, dev: name, mtuBytes, hostAddresses: new Set(addresses.map(({ ip }) => ip)) };
}

/** An address that a host gives itself where nobody gives it one: the others can't reach it by that for long. */
function fallsToLinkLocal(before: Underlay, after: Underlay): boolean {
  const falls = (from: Ip | undefined, to: Ip | undefined): boolean =>
    from !== undefined && to !== undefined && !isLinkLocal(from) && isLinkLocal(to);
  return falls(before.ip, after.ip) || falls(before.ip6, after.ip6);
}

function whatHappened({ dev, index, ip, ip6 }: Underlay, { links, addresses }: HostFacts): string {
  const named = links.find(({ name }) => name === dev);
  const moved = links.find((link) => link.index === index);
  if (!named) return moved ? `${dev} was renamed to ${moved.name}` : `the interface ${dev} is gone`;
  const lost = [ip, ip6].filter(
    (one) => one && !addresses.some((address) => address.dev === dev && address.ip === one),
  );
  return lost.length > 0 ? `${dev} has lost its address ${lost.join(' and ')}` : `the MTU of ${dev} is 0`;
}

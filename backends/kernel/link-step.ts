import { sameMake } from '../same-object.ts';
import { asLink, type Link, type LinkInfo, type VxlanAttributes } from '../state.ts';
import type { LinkChange, VxlanChange } from './link-message.ts';

/** What makes the device so. Whatever the kernel changes in place is: all that stands on a device goes with it. */
type LinkStep =
  | { readonly step: 'none' }
  | { readonly step: 'make' }
  | { readonly step: 'make anew' }
  | { readonly step: 'change'; readonly change: LinkChange };

export function linkStep(wanted: Link, found: LinkInfo | undefined): LinkStep {
  if (found === undefined || isInHand(wanted, found)) return { step: 'make' };
  const link = asLink(found);
  if (link === undefined || !sameMake(wanted, link)) return { step: 'make anew' };
  const vxlan = wanted.vxlan && link.vxlan ? vxlanChange(wanted.vxlan, link.vxlan) : {};
  const change: LinkChange = {
    ...(wanted.mac === undefined || wanted.mac === link.mac ? {} : { mac: wanted.mac }),
    ...(wanted.mtuBytes === link.mtuBytes ? {} : { mtuBytes: wanted.mtuBytes }),
    ...(wanted.up === link.up ? {} : { up: wanted.up }),
    ...(Object.keys(vxlan).length === 0 ? {} : { vxlan }),
  };
  return Object.keys(change).length === 0 ? { step: 'none' } : { step: 'change', change };
}

/** A device that goes with its process, a flanneld's: to be had when that one is gone, and not to be taken away before. */
function isInHand(wanted: Link, { tun }: LinkInfo): boolean {
  if (wanted.vxlan || tun === undefined) return false;
  return !tun.isPersistent && tun.isTap === (wanted.mac !== undefined);
}

function vxlanChange(wanted: VxlanAttributes, found: VxlanAttributes): VxlanChange {
  return {
    ...(wanted.local === found.local ? {} : { local: wanted.local }),
    ...(wanted.lower === found.lower ? {} : { lower: wanted.lower }),
    ...(wanted.learning === found.learning ? {} : { learning: wanted.learning }),
  };
}

/**
 * Our device, by its make and MAC, under a name that somebody else gave it. Of a vxlan the kernel allows no second one;
 * a tun, which has no MAC, can't be told.
 */
export function isAstray(wanted: Link, found: LinkInfo): boolean {
  if (found.name === wanted.name || wanted.mac === undefined || wanted.mac !== found.mac) return false;
  const link = asLink(found);
  return link !== undefined && sameMake(wanted, link);
}

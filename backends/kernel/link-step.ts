import { sameTunnel } from '../same-object.ts';
import type { Link, LinkInfo, VxlanAttributes } from '../state.ts';
import type { LinkChange, VxlanChange } from './link-message.ts';

/** What makes the device so. Whatever the kernel changes in place is: all that stands on a device goes with it. */
type LinkStep =
  | { readonly step: 'none' }
  | { readonly step: 'make' }
  | { readonly step: 'make anew' }
  | { readonly step: 'change'; readonly change: LinkChange };

export function linkStep(wanted: Link, found: LinkInfo | undefined): LinkStep {
  if (found === undefined) return { step: 'make' };
  if (found.vxlan === undefined || !sameTunnel(wanted.vxlan, found.vxlan)) return { step: 'make anew' };
  const vxlan = vxlanChange(wanted.vxlan, found.vxlan);
  const change: LinkChange = {
    ...(wanted.mac === found.mac ? {} : { mac: wanted.mac }),
    ...(wanted.mtuBytes === found.mtuBytes ? {} : { mtuBytes: wanted.mtuBytes }),
    ...(wanted.up === found.up ? {} : { up: wanted.up }),
    ...(Object.keys(vxlan).length === 0 ? {} : { vxlan }),
  };
  return Object.keys(change).length === 0 ? { step: 'none' } : { step: 'change', change };
}

function vxlanChange(wanted: VxlanAttributes, found: VxlanAttributes): VxlanChange {
  return {
    ...(wanted.local === found.local ? {} : { local: wanted.local }),
    ...(wanted.lower === found.lower ? {} : { lower: wanted.lower }),
    ...(wanted.learning === found.learning ? {} : { learning: wanted.learning }),
  };
}

/** Our device, by VNI, port and MAC, under a name that somebody else gave it. The kernel allows no second one of these. */
export function isAstray(wanted: Link, found: LinkInfo): boolean {
  const { name, mac, vxlan } = found;
  return name !== wanted.name && mac === wanted.mac && vxlan !== undefined && sameTunnel(wanted.vxlan, vxlan);
}

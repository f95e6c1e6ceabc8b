import { sameVxlan } from '../same-object.ts';
import type { Link, LinkInfo } from '../state.ts';
import type { LinkChange } from './link-message.ts';

/** What makes the device so: the kernel can't change what a vxlan is, only how it is addressed. */
type LinkStep =
  | { readonly step: 'none' }
  | { readonly step: 'make' }
  | { readonly step: 'make anew' }
  | { readonly step: 'change'; readonly change: LinkChange };

export function linkStep(wanted: Link, found: LinkInfo | undefined): LinkStep {
  if (found === undefined) return { step: 'make' };
  if (found.vxlan === undefined || !sameVxlan(wanted.vxlan, found.vxlan)) return { step: 'make anew' };
  const change: LinkChange = {
    ...(wanted.mac === found.mac ? {} : { mac: wanted.mac }),
    ...(wanted.mtuBytes === found.mtuBytes ? {} : { mtuBytes: wanted.mtuBytes }),
    ...(wanted.up === found.up ? {} : { up: wanted.up }),
  };
  return Object.keys(change).length === 0 ? { step: 'none' } : { step: 'change', change };
}

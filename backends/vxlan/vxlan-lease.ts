/**
 * The VXLAN backend's data in a lease, one object per family (`BackendData`, `BackendV6Data`), byte for byte flannel's:
 *
 *   {"VNI":1,"VtepMAC":"c2:88:f0:5b:5f:ac"}
 *
 * VtepMAC is the MAC of that family's device. VNI is informative: nobody compares it.
 */
import { type Mac, notUnicastMac, parseMac } from '../../config/address.ts';
import { goField, isJsonObject } from '../../config/go-json.ts';
import { shown } from '../backend-config.ts';
import type { LeasePart } from '../lease-part.ts';

export function encodeVxlanData(vni: number, mac: Mac): string {
  return JSON.stringify({ VNI: vni, VtepMAC: mac });
}

type Decoded = { readonly ok: true; readonly mac: Mac } | { readonly ok: false; readonly reason: string };

/** As flannel and we write it: what is not so is read as JSON. */
const AS_WRITTEN = /^\{"VNI":\d+,"VtepMAC":"((?:[0-9a-f]{2}:){5}[0-9a-f]{2})"\}$/;

/** The MAC that a peer's packets for this part must carry, or why there is none. Never throws. */
export function decodeVtepMac(part: LeasePart): Decoded {
  const { data, dataField } = part;
  if (data === undefined) return { ok: false, reason: `${dataField} is missing` };
  const written = AS_WRITTEN.exec(data)?.[1];
  if (written !== undefined) return judged(parseMac(written), written, dataField);
  const object = parseJson(data);
  if (!isJsonObject(object)) return { ok: false, reason: `${dataField} is not a JSON object: ${shown(data)}` };
  const text = goField(object, 'VtepMAC') ?? undefined;
  if (text === undefined) return { ok: false, reason: `${dataField}.VtepMAC is missing` };
  return judged(typeof text === 'string' ? parseMac(text) : undefined, text, dataField);
}

function judged(mac: Mac | undefined, text: unknown, field: string): Decoded {
  if (mac === undefined) return { ok: false, reason: `${field}.VtepMAC is not a MAC address: ${shown(text)}` };
  const fault = notUnicastMac(mac);
  return fault === undefined ? { ok: true, mac } : { ok: false, reason: `${field}.VtepMAC ${mac} is ${fault}` };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

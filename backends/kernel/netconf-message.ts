/**
 * The switches of devices of which the kernel tells, linux/netconf.h: forwarding is one of them.
 *
 *   netconfmsg  | family u8 | pad 3 |
 *   attributes  NETCONFA_IFINDEX i32: the device, -1 all of them (ip_forward), -2 those that are made later
 */
import { eachAttribute, type Message, type NameOf } from './message.ts';

export const RTM_NEWNETCONF = 80;

const NETCONFMSG_BYTES = 4;
const NETCONFA_IFINDEX = 1;
const ALL = -1;
const DEFAULT = -2;

/** Whose switch was moved: a device's name, `all`, `default`; undefined for malformed messages. */
export function netconfDevice({ body }: Message, nameOf: NameOf): string | undefined {
  let index = 0;
  const whole = eachAttribute(body, NETCONFMSG_BYTES, body.length, (type, at, length) => {
    if (type === NETCONFA_IFINDEX && length >= 4) index = body.readInt32LE(at);
  });
  if (!whole || index === 0) return undefined;
  if (index === ALL) return 'all';
  return index === DEFAULT ? 'default' : nameOf(index);
}

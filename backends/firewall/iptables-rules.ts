/**
 * What is to stand in iptables, in the words in which iptables-save prints it. Chains, comments and order are flannel's,
 * so that a swap either way changes nothing (N the network, S this host's subnet):
 *
 *   nat     FLANNEL-POSTRTG   at the end of POSTROUTING    masquerading
 *   filter  FLANNEL-FWD       at the end of FORWARD        forwarding
 *
 * And of our own, one for each device, because a drop of Docker's may stand in the way:
 *
 *   filter  DOCKER-USER       -s N -d S -i DEVICE -j ACCEPT     behind the operator's rules, before its RETURN
 *   raw     PREROUTING        the same                          before any DROP
 */
import type { Family } from '../../config/address.ts';
import type { Stage } from './rule-plan.ts';
import type { FirewallFamily, FirewallWish } from './wish.ts';

export type IptablesTable = 'nat' | 'filter' | 'raw';

/** A chain that is all ours, and the jump to it. */
export interface OwnChain {
  readonly table: IptablesTable;
  readonly chain: string;
  readonly parent: string;
  readonly jump: string;
  /** None: the chain is to be gone. `as it is`: it is left alone. */
  readonly rules: readonly string[] | 'as it is';
}

/** Rules of ours in a chain that belongs to others, told by their comment. */
export interface GuestRules {
  readonly table: IptablesTable;
  readonly chain: string;
  readonly comment: string;
  readonly rules: readonly string[];
  /** Which rules must not stand before ours. */
  readonly notAfter: 'return' | 'drop';
}

export interface IptablesRules {
  readonly own: readonly OwnChain[];
  readonly guests: readonly GuestRules[];
}

const DOCKER_COMMENT = 'tartan docker';
export const DOCKER_USER = 'DOCKER-USER';
export const MULTICAST = { 4: '224.0.0.0/4', 6: 'ff00::/8' } as const;

const MASQ = '-m comment --comment "flanneld masq"';
const FORWARD = '-m comment --comment "flanneld forward"';

/** `can.flannel`: whether flannel's rules stand here; `randomFully`: whether it is wanted and the program can. */
export function iptablesRules(
  wish: FirewallWish,
  family: Family,
  can: { readonly flannel: boolean; readonly randomFully: boolean },
  { masquerading, mayLeave }: Stage,
): IptablesRules {
  const ground = wish.families.find((candidate) => candidate.family === family);
  const place = can.flannel ? ground : undefined;
  const none = can.flannel || mayLeave ? [] : 'as it is';
  const masquerade = place && masquerading === 'wanted' ? masqueradeRules(place, can.randomFully) : none;
  const forward = place && wish.forward ? forwardRules(place) : none;
  const ways = ground && wish.docker ? dockerRules(ground, wish.docker.devices) : [];
  return arranged(masquerading === 'stays' ? 'as it is' : masquerade, forward, ways);
}

/** Nothing of ours, nor of flannel's. */
export function noIptablesRules(): IptablesRules {
  return arranged([], [], []);
}

function arranged(masquerade: OwnChain['rules'], forward: OwnChain['rules'], ways: readonly string[]): IptablesRules {
  return {
    own: [
      {
        table: 'nat',
        chain: 'FLANNEL-POSTRTG',
        parent: 'POSTROUTING',
        jump: `${MASQ} -j FLANNEL-POSTRTG`,
        rules: masquerade,
      },
      { table: 'filter', chain: 'FLANNEL-FWD', parent: 'FORWARD', jump: `${FORWARD} -j FLANNEL-FWD`, rules: forward },
    ],
    guests: [
      { table: 'filter', chain: DOCKER_USER, comment: DOCKER_COMMENT, rules: ways, notAfter: 'return' },
      { table: 'raw', chain: 'PREROUTING', comment: DOCKER_COMMENT, rules: ways, notAfter: 'drop' },
    ],
  };
}

function masqueradeRules({ family, network, subnet }: FirewallFamily, randomFully: boolean): string[] {
  const masquerade = `${MASQ} -j MASQUERADE${randomFully ? ' --random-fully' : ''}`;
  return [
    `-m mark --mark 0x4000/0x4000 ${MASQ} -j RETURN`,
    `-s ${subnet} -d ${network} ${MASQ} -j RETURN`,
    `-s ${network} -d ${subnet} ${MASQ} -j RETURN`,
    `! -s ${network} -d ${subnet} ${MASQ} -j RETURN`,
    `-s ${network} ! -d ${MULTICAST[family]} ${masquerade}`,
    `! -s ${network} -d ${network} ${masquerade}`,
  ];
}

function forwardRules({ network }: FirewallFamily): string[] {
  return [`-s ${network} ${FORWARD} -j ACCEPT`, `-d ${network} ${FORWARD} -j ACCEPT`];
}

function dockerRules({ network, subnet }: FirewallFamily, devices: readonly string[]): string[] {
  const comment = `-m comment --comment "${DOCKER_COMMENT}"`;
  return devices.map((device) => `-s ${network} -d ${subnet} -i ${device} ${comment} -j ACCEPT`);
}

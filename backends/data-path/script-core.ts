/** The packet core as JavaScript: one of it in each thread, since its state is its modules'. */
import { addNetwork, addOwn } from './core/address-list.ts';
import { memory } from './core/memory.ts';
import {
  addMac,
  addSource,
  addSubnet,
  clearPeers,
  removeMac,
  removeSource,
  removeSubnet,
  setEndpoint,
} from './core/peers.ts';
import { rx, rxMore, rxPrepare } from './core/receive.ts';
import { clearSamples } from './core/samples.ts';
import { setBase, setDevice, setLocal, setOffloads, setUdp, setVxlan } from './core/settings.ts';
import { tx, txDone, txPointer, txReplies, txReset, txRoomBytes, txSplit } from './core/transmit.ts';
import { allowReplies, setTunnelAddress } from './core/unreachable.ts';

export const SCRIPT_CORE = {
  addMac,
  addNetwork,
  addOwn,
  addSource,
  addSubnet,
  allowReplies,
  clearPeers,
  clearSamples,
  removeMac,
  removeSource,
  removeSubnet,
  rx,
  rxMore,
  rxPrepare,
  setBase,
  setDevice,
  setEndpoint,
  setLocal,
  setOffloads,
  setTunnelAddress,
  setUdp,
  setVxlan,
  tx,
  txDone,
  txPointer,
  txReplies,
  txReset,
  txRoomBytes,
  txSplit,
};

/** What either form of the core offers. */
export type CoreFunctions = typeof SCRIPT_CORE;

export const SCRIPT_MEMORY = memory;

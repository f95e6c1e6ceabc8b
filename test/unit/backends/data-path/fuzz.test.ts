import test from 'ava';
import { runRound } from '../../../fuzz/round.ts';
import { PacketCores } from '../../../support/packet-cores.ts';

/** A few seconds. By hand and for longer: npm run fuzz. */
const ROUNDS = 150;
const SEED = 20_261_122;

test('whatever comes, all forms of the core do the same, touch only what they may, and lose nothing uncounted', async (t) => {
  const cores = await PacketCores.open();
  let packets = 0;
  for (let seed = SEED; seed < SEED + ROUNDS; seed++) {
    t.notThrows(() => {
      packets += runRound(cores, seed).packets;
    }, `seed ${seed}`);
    if (seed % 20 === 0) cores.compareMemory();
  }
  cores.compareMemory();
  t.true(packets > ROUNDS, 'most of what is sound passes');
});

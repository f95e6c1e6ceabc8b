/** One fault on one scene: broken, watched until it is healed, and the proof that the agent still does its work. */
import { eventually } from '../support/eventually.ts';
import { PacketStream } from '../support/packet-stream.ts';
import type { Fault } from './fault.ts';
import type { Scene } from './scene.ts';

export interface Outcome {
  readonly fault: Fault;
  /** undefined: not healed. */
  readonly healedMs: number | undefined;
  readonly lost: number;
  /** Why it was not healed, in the kernel's and the agent's words. */
  readonly why: string | undefined;
  /** Whether another fault may follow on the same scene. */
  readonly isWhole: boolean;
}

const SETTLES_MS = 5_000;
function messageOf(fault: unknown): string {
  return fault instanceof Error ? fault.message : String(fault);
}

/** @returns when it was seen that all holds, on the monotonic clock; what is seen after that can only confirm it */
async function wellSince({ fault, scene, stream }: Trial): Promise<number> {
  if (!scene.subject.agent.running) throw new Error('the agent ended');
  const holds = await (fault.holds?.(scene) ?? scene.isAsBefore());
  if (!holds) throw new Error('not yet what must hold');
  const at = performance.now();
  if (!(await stream.answersWithin(500))) throw new Error('no packet crosses');
  return at;
}

/** @returns when all was well, ms from now; at most, for it takes some to look */
async function healing(trial: Trial): Promise<number> {
  const { fault, scene } = trial;
  const from = performance.now();
  const at = await eventually('healed', () => wellSince(trial), {
    timeoutMs: scene.kind.patienceMs(fault.withinMs),
    everyMs: 10,
    context: () => scene.subject.agent.tail(6),
  });
  return at - from;
}

/** A good lease that comes and goes is followed, and all is as well as before it came. */
async function proveLife(trial: Trial): Promise<void> {
  const { scene } = trial;
  await scene.goesOn();
  await eventually('and all is still well', () => wellSince(trial), { timeoutMs: SETTLES_MS });
}

interface Trial {
  readonly fault: Fault;
  readonly scene: Scene;
  readonly stream: PacketStream;
}

async function heal(trial: Trial): Promise<number> {
  await trial.fault.breaks(trial.scene);
  const healedMs = await healing(trial);
  await trial.fault.provesLifeAfter?.(trial.scene);
  await proveLife(trial);
  return healedMs;
}

async function isWholeAgain({ fault, scene }: Trial): Promise<boolean> {
  if (fault.spoils) return false;
  try {
    await fault.undo?.(scene);
    await eventually('the scene is whole', () => scene.isAsBefore(), { timeoutMs: SETTLES_MS });
    return true;
  } catch {
    return false;
  }
}

export async function runTrial(fault: Fault, scene: Scene): Promise<Outcome> {
  const stream = await PacketStream.start(scene.subject.container, scene.neighbour.container);
  const trial = { fault, scene, stream };
  try {
    const healedMs = await heal(trial);
    const { lostCount: lost } = await stream.abandon();
    return { fault, healedMs, lost, why: undefined, isWhole: await isWholeAgain(trial) };
  } catch (thrown: unknown) {
    const { lostCount, unanswered } = await stream.abandon();
    return { fault, healedMs: undefined, lost: lostCount + unanswered, why: messageOf(thrown), isWhole: false };
  }
}

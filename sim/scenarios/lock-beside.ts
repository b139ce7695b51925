// What the stories about a second client beside a holder share: who the log says holds the volume, and a client of which
// nothing goes into the history of the volume, for what it reads through a holder supersedes nobody.

import type { OperatingError } from '../../src/core/errors.ts';
import type { VolumeLock } from '../../src/core/view.ts';
import type { VolumeSession } from '../../src/datapath/volume-session.ts';
import { BLOCK_BYTES } from '../guest-block.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

/** Longer than the wait of a write beside a holder that stays. */
const ANSWER_MS = 60_000;

/** The lock as this node's map has it. */
export function lockAt(node: SimNode, name: string): VolumeLock {
  const lock = node.running().handle.view()?.volumeByName(name)?.lock;
  if (lock === undefined) throw new RunFailure(`${node.name} knows no ${name}`);
  return lock;
}

/** Waits until all nodes that run know of the volume. */
export async function untilKnown(stage: Stage, name: string): Promise<void> {
  const knows = (node: SimNode): boolean =>
    node.running().handle.view()?.volumeByName(name) !== undefined;
  await stage.until(`all know ${name}`, () => stage.running.every(knows), { seconds: 10 });
}

/** Waits until all nodes that run know of the holder. */
export async function untilHeld(stage: Stage, name: string, by: SimNode): Promise<void> {
  const number = stage.numberOf(by);
  const isHeld = (node: SimNode): boolean => {
    const lock = lockAt(node, name);
    return lock.state === 'held' && lock.node === number && lock.incarnation > 0;
  };
  const knows = () => stage.running.every((node) => isHeld(node));
  await stage.until(`all know that ${by.name} holds ${name}`, knows, { seconds: 10 });
}

/** Connects; what it is refused with, if it is. */
export function tryConnect(
  stage: Stage,
  node: SimNode,
  name: string,
): VolumeSession | OperatingError {
  const { process, handle } = node.running();
  let found: VolumeSession | OperatingError | undefined;
  stage.world.enter(process, () => {
    try {
      found = handle.openVolume(name);
      found.connect(`a client of ${node.name}`);
    } catch (error) {
      found = error as OperatingError;
    }
  });
  if (found === undefined) throw new RunFailure(`${node.name} opened nothing`);
  return found;
}

/** Connects, which must go well. */
export function connect(stage: Stage, node: SimNode, name: string): VolumeSession {
  const found = tryConnect(stage, node, name);
  if (found instanceof Error) throw new RunFailure(`${node.name} refused: ${found.message}`);
  return found;
}

/** One request of such a client; the error that it was answered with, if it was. */
export async function answerTo(
  stage: Stage,
  node: SimNode,
  ask: (done: (error: OperatingError | undefined) => void) => void,
): Promise<OperatingError | undefined> {
  let answer: { readonly error: OperatingError | undefined } | undefined;
  stage.world.enter(node.running().process, () => {
    ask((error) => {
      answer = { error };
    });
  });
  await stage.world.runUntil(() => answer !== undefined, ANSWER_MS);
  if (answer === undefined) throw new RunFailure('a request was never answered');
  return answer.error;
}

/** A write of one block of zeroes. */
export function writeTo(stage: Stage, node: SimNode, session: VolumeSession, block: number) {
  return answerTo(stage, node, (done) => {
    session.write(block * BLOCK_BYTES, new Uint8Array(BLOCK_BYTES), done);
  });
}

/** The bytes of one block, or the error. */
export async function readFrom(
  stage: Stage,
  node: SimNode,
  session: VolumeSession,
  block: number,
): Promise<Uint8Array | OperatingError> {
  const bytes = new Uint8Array(BLOCK_BYTES);
  const error = await answerTo(stage, node, (done) => {
    session.read(block * BLOCK_BYTES, BLOCK_BYTES, bytes, 0, done);
  });
  return error ?? bytes;
}

/** Refused, and with a text that says who has it since when from where. */
export function expectHeld(what: string, answer: unknown, holder: VolumeLock): void {
  const { code, message } = (answer ?? {}) as { code?: string; message?: string };
  if (code !== 'held') throw new RunFailure(`C-lock: ${what}: not refused, but ${code ?? 'done'}`);
  const says = [`n${holder.node} since `, ' UTC', holder.from];
  const silent = says.find((part) => message?.includes(part) !== true);
  if (silent !== undefined) throw new RunFailure(`${what}: "${message}" does not say "${silent}"`);
}

// Reading a volume or a snapshot block by block, beside its guests: through any node, like a client that only reads.

import { readableNamed } from '../src/core/snapshots.ts';
import type { VolumeSession } from '../src/datapath/volume-session.ts';
import { BLOCK_BYTES, blockValue } from './guest-block.ts';
import type { SimNode } from './sim-node.ts';
import type { Stage } from './stage.ts';

/** A client's request. */
const STEP_BYTES = 2 ** 20;

/** What is read: `name` or `name@tag`, written by guests of a volume of this number. */
export interface Readable {
  readonly name: string;
  readonly tagged: number;
  readonly blocks: number;
}

/** The values of its first blocks, 0 = zeroes; a block that nobody wrote there fails the run (I8). */
export async function valuesOf(stage: Stage, what: Readable): Promise<readonly number[]> {
  const { name, tagged, blocks } = what;
  const bytes = new Uint8Array(blocks * BLOCK_BYTES);
  const node = stage.anyRunning();
  await stage.until(`${node.name} knows ${name}`, () => isKnown(node, name), { seconds: 10 });
  await stage.ask(node, `read ${name}`, async (handle) => {
    const session = handle.openVolume(name);
    session.connect();
    await readAll(session, bytes);
    await session.disconnect();
  });
  return Array.from({ length: blocks }, (_, block) => {
    const value = blockValue(bytes, block * BLOCK_BYTES, { volume: tagged, block });
    if (value === undefined) stage.world.fail(`I8: block ${block} of ${name} is nobody's`);
    return value ?? 0;
  });
}

/** Where it was not asked for it comes a little later. */
function isKnown(node: SimNode, name: string): boolean {
  const view = node.running().handle.view();
  return view !== undefined && readableNamed(view, name) !== undefined;
}

async function readAll(session: VolumeSession, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += STEP_BYTES) {
    const length = Math.min(STEP_BYTES, bytes.length - at);
    await new Promise<void>((resolve, reject) => {
      session.read(at, length, bytes, at, (error) => (error ? reject(error) : resolve()));
    });
  }
}

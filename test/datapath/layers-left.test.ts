// What is left of deleted layers (S6): each member says it of itself, and one that does not say has all of them.

import test from 'ava';
import type { GenerationId, NodeId } from '../../src/core/ids.ts';
import { OP } from '../../src/wire/frame.ts';
import { deleteLayer, snapshot } from './layers-world.ts';
import { World } from './world.ts';

const MEMBERS = [1, 2, 3] as NodeId[];

async function nowhere(world: World, asked: readonly GenerationId[]): Promise<unknown> {
  let answer: unknown = 'nothing yet';
  world
    .node(2)
    .datapath.layersLeft(asked, MEMBERS)
    .then((found) => {
      answer = found;
    });
  for (let i = 0; i < 20 && answer === 'nothing yet'; i += 1) {
    world.clock.run(500);
    await Promise.resolve();
  }
  return answer;
}

test('a layer is nowhere when each member has dropped its rows; who does not answer has them', async (t) => {
  const world = new World();
  const guest = world.attach(1);
  t.is(world.write(guest, 0, new Uint8Array(65536).fill(1)), 'ok');
  const first = snapshot(world);
  world.clock.run(50);
  t.is(world.write(guest, 0, new Uint8Array(65536).fill(2)), 'ok');
  const second = snapshot(world);
  world.clock.run(2000);
  deleteLayer(world, first);
  world.clock.run(50);
  t.deepEqual(await nowhere(world, [first, second]), []);
  const drop = (id: number): void => {
    world.node(id).datapath.surplus.dropDeleted((error, dropped) => {
      t.is(error, undefined);
      t.is(dropped, 1);
    });
    world.clock.run(50);
  };
  drop(1);
  drop(2);
  t.deepEqual(await nowhere(world, [first, second]), [], 'node 3 still has it');
  drop(3);
  world.tamper = (_from, to, frame, isReply) => {
    return !isReply && to === 3 && frame.op === OP.LAYERS ? 'lose' : 'pass';
  };
  t.is(await nowhere(world, [first, second]), undefined);
  world.tamper = () => 'pass';
  t.deepEqual(await nowhere(world, [first, second]), [first]);
});

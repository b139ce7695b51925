// Makes one actor of one living process throw at its next transition, whatever that is. No product code is changed: each
// transition of each machine gets an action more, which does nothing unless it is armed.

import { MACHINES, transitionsOf } from './machines.ts';
import type { SimProcess } from './sim-process.ts';
import type { World } from './world.ts';

interface Armed {
  readonly world: World;
  readonly process: SimProcess;
  readonly actor: string;
}

let armed: Armed | undefined;
let isReady = false;

function prepare(): void {
  if (isReady) return;
  isReady = true;
  for (const machine of MACHINES) {
    for (const { one } of transitionsOf(machine.root)) {
      (one.actions as unknown[]).push(() => strike(machine.id));
    }
  }
}

function strike(actor: string): void {
  if (armed?.actor !== actor || armed.world.executing !== armed.process) return;
  armed = undefined;
  throw new TypeError(`${actor} was broken by the stage`);
}

export function breakActor(world: World, process: SimProcess, actor: string): void {
  prepare();
  armed = { world, process, actor };
  world.inject('actor-broken', process.name);
}

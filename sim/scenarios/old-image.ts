// Goal (section 6, C1.9): a host's disk is put back from an image that was made while the node ran. Everything in it is
// whole, and it lacks writes that it had confirmed. It is not taken back: the map knows a later life of it, or those who
// observed it saw more of its journal and say so at its start. Where none of them is heard then, they say it later, and the
// node is retired as if lost. In the end a guest reads all it was ever told is written.

import { decodeControl } from '../../src/wire/messages.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

/** Sequences of the last second may not be on any observer's disk. */
const BETWEEN_S = 4;

/** Nobody who is asked at a start is heard. */
function silenceWitnesses(stage: Stage): void {
  stage.cable.tamper = ({ plane, bytes }) => {
    if (plane !== 'control') return bytes;
    const said = decodeControl(bytes);
    return said.kind === 'reply' && said.body.type === 'seen' ? undefined : bytes;
  };
}

function lifeOf(stage: Stage, node: SimNode): number | undefined {
  return stage.memberOf(node)?.incarnation;
}

function stateOf(stage: Stage, node: SimNode): string {
  const { phase, appliedIndex } = node.running().handle.status();
  return `${phase} at ${appliedIndex}, ${JSON.stringify(stage.memberOf(node))}`;
}

export const oldImage = scenario(
  'old-image',
  { nodes: 4, copies: 3, smokeSeeds: 6 },
  async (stage) => {
    const { random } = stage;
    stage.traceChecker.expected.add('warn disk.older-image');
    await stage.form();
    const gateway = stage.anyRunning();
    // Many objects: every node holds some.
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 64, at: gateway });
    guest.writeForever({ thinkMs: 20, workingSet: 16384 });
    const victim = stage.anyRunning(gateway);
    await stage.run({ seconds: 2 });
    const image = victim.disk.image();
    await stage.run({ seconds: BETWEEN_S });
    // Restarted after the image was made, or not: then the map can not tell.
    const isRestarted = random.chance(0.4);
    if (isRestarted) {
      victim.kill();
      await victim.start();
      await stage.check.converges({ seconds: 120 });
      await stage.run({ seconds: 1 });
    }
    victim.losePower();
    const isCalledDown = random.chance(0.5);
    const isDown = (): boolean => stage.memberOf(victim)?.state === 'down';
    if (isCalledDown) await stage.until('it is down', isDown, { seconds: 30 });
    // What they saw is on their disks.
    const others = stage.nodes.filter((node) => node !== victim && node !== gateway);
    for (const other of others) {
      if (!random.chance(0.5)) continue;
      await stage.run({ seconds: 2 });
      other.losePower();
      await other.start();
      await stage.until('it is up', () => stage.memberOf(other)?.state === 'up', { seconds: 60 });
    }
    const before = lifeOf(stage, victim);
    const areSilent = random.chance(0.4);
    if (areSilent) silenceWitnesses(stage);
    victim.disk.restore(image);
    stage.viewChecker.forget(victim.name);
    victim.mayFail = true;
    await victim.start();
    await stage.until('it ends', () => !victim.isRunning || stateOf(stage, victim), {
      seconds: 20,
    });
    const wasUp = lifeOf(stage, victim) !== before;
    if (!areSilent && wasUp) throw new RunFailure('it was up with an older image of its disk');
    const isRetired = stage.memberOf(victim) === undefined;
    if (areSilent && !isRestarted && !isRetired) throw new RunFailure('nobody said it later');

    stage.cable.tamper = ({ bytes }) => bytes;
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest saw: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
  },
);

// Goal: a release goes over a cluster one node after the other, under load, and nobody notices. The first three nodes run a
// program of an earlier wire version; each is stopped and comes back with this one, and in between the two talk to each
// other while a fourth node joins and one dies. A program that speaks only a later protocol is told so when it knocks; one
// that speaks both is let in.

import { type OlderWire, olderWire } from '../older-wire.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const KINDS = ['knock', 'rumour', 'ping', 'contents'] as const;

async function upgrade(stage: Stage, wire: OlderWire, node: SimNode): Promise<void> {
  await stage.run({ seconds: stage.random.unit() });
  await node.stop();
  wire.old.delete(node.name);
  await stage.run({ seconds: stage.random.unit() * 3 });
  await node.start();
  await stage.check.converges({ seconds: 120 });
}

/** Between two releases, a node is gone for a while: who returns copies from the other release. */
async function dies(stage: Stage, node: SimNode): Promise<void> {
  node.kill();
  await stage.run({ seconds: 1 + stage.random.unit() * 6 });
  await node.start();
  await stage.check.converges({ seconds: 120 });
}

async function joinsLater(stage: Stage, wire: OlderWire): Promise<void> {
  const fresh = stage.addNode();
  wire.ranges.set(fresh.name, [2, 2]);
  const refusal = await stage.join(fresh).then(
    () => undefined,
    (error: { readonly code?: string; readonly message?: string }) => error,
  );
  if (refusal?.code !== 'unsupported' || refusal.message?.includes('protocol') !== true) {
    throw new RunFailure(`a program of another protocol: ${String(refusal?.message)}`);
  }
  await fresh.stop();
  wire.ranges.set(fresh.name, [1, 2]);
  await stage.join(fresh);
  await stage.check.converges({ seconds: 120 });
}

export const rollingUpgrade = scenario(
  'rolling-upgrade',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    const wire = olderWire(stage);
    for (const { name } of stage.nodes) wire.old.add(name);
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    guest.writeForever({ workingSet: 2048 });
    const [first, second] = stage.nodes.filter((node) => node !== gateway);
    if (first === undefined || second === undefined) throw new RunFailure('three nodes');
    await upgrade(stage, wire, first);
    await dies(stage, stage.random.pick([first, second]));
    await joinsLater(stage, wire);
    await upgrade(stage, wire, second);
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`the guest saw ${guest.errors[0]}`);
    await guest.detach();
    await upgrade(stage, wire, gateway);
    const missing = KINDS.filter((kind) => !wire.counts.has(kind));
    if (missing.length > 0) throw new RunFailure(`never said by an older program: ${missing}`);

    const other = stage.guestOf(guest.volume);
    other.attach(stage.anyRunning());
    await stage.check.everyAcknowledgedWriteIsReadable(other);
    await stage.check.replicasAreIdentical({ seconds: 120 });
  },
);

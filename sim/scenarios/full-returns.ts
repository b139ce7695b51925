// Goal (4.9): the restart of one full node does not take its copies out of the count. A disk fills up while nothing is
// written, its node is killed, called down, started again, still full: it is in sync again wherever it was, for it misses
// nothing. What is written anew it has no room for: it leaves there alone, and the guest sees no error. The seed picks who.

import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { RunFailure } from '../world.ts';
import { fill } from './disk-faults.ts';

const WORKLOAD = { workingSet: 4 * 1024, thinkMs: 10, depth: 8 };
/** Left of what is used: less than the eighth that a small file system keeps, more than the part for overwrites. */
const LEFT_SHARE = 0.1;

interface Seen {
  readonly state: string;
  readonly space: string;
  /** Partitions in which the member is in sync. */
  readonly held: number;
}

/** The member as another node's map has it. */
function seenOf(node: SimNode, by: SimNode): Seen | undefined {
  const view = by.running().handle.view();
  const member = [...(view?.members.values() ?? [])].find(({ peerKey }) => {
    return peerKey === node.host.peer;
  });
  if (view === undefined || member === undefined) return undefined;
  let held = 0;
  for (const policy of view.policies.keys()) {
    for (let p = 0; p < view.partitions; p += 1) {
      if (view.partition(policy, p).inSync.includes(member.node)) held += 1;
    }
  }
  return { state: member.state, space: member.space, held };
}

export const fullReturns = scenario(
  'full-returns',
  { nodes: 3, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 36, at: gateway });
    guest.writeForever(WORKLOAD);
    await stage.run({ seconds: 1 + stage.random.unit() });
    guest.freeze();
    await stage.until('nothing is under way', () => guest.inFlight === 0, { seconds: 30 });
    await stage.run({ seconds: 3 });

    // A leader that saw it go is there when it comes back.
    const others = stage.nodes.filter((node) => node !== gateway && node !== stage.leader);
    const victim = stage.random.pick(others);
    const seen = (): Seen | undefined => seenOf(victim, gateway);
    const empty = fill(victim, Math.floor(victim.disk.usedBytes * LEFT_SHARE));
    await stage.until('it is called full', () => seen()?.space === 'full', { seconds: 30 });
    const before = seen()?.held ?? 0;
    if (before === 0) throw new RunFailure('a full disk alone took copies out');
    victim.kill();
    await stage.until('it is called down', () => seen()?.state === 'down', { seconds: 30 });
    if (seen()?.held === before) throw new RunFailure('who is down counts as in sync');
    await stage.run({ seconds: 1 });
    await victim.start();
    await stage.until('all that it holds counts again', () => seen()?.held === before, {
      seconds: 60,
    });
    if (seen()?.space !== 'full') throw new RunFailure('it was not full any more');

    const answered = guest.volume.history.acknowledgedWrites;
    guest.writeForever({ ...WORKLOAD, workingSet: 8 * 1024 });
    await stage.until(
      'writes go on, with it or without',
      () => guest.volume.history.acknowledgedWrites > answered + 100,
      { seconds: 120 },
    );
    empty();
    await stage.check.converges({ seconds: 240 });
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest saw: ${guest.errors.join(', ')}`);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);

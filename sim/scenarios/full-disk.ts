// Goal (stories 35, 36, 64): a disk fills up under load. One of three: its node says so, leaves the in-sync sets of what
// it has to refuse, the guest goes on without an error. All but minCopies: the guest gets ENOSPC, never anything else; no
// number is reused; what was acknowledged stays. The full node restarts while full. Space returns: what hangs is done,
// the copies come back, equal everywhere. The seed picks the moment, the victims and whether one is killed.

import { MIB } from '../../src/core/units.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { fill } from './disk-faults.ts';

/** New objects all the time: each needs space. */
const WORKLOAD = { workingSet: 8 * 1024, thinkMs: 10, depth: 8 };

/** Writes in flight of one object. */
const BURST = 24;

function levelOf(stage: Stage, node: SimNode): string | undefined {
  for (const other of stage.running) {
    const members = other.running().handle.view()?.members.values() ?? [];
    const found = [...members].find(({ peerKey }) => peerKey === node.host.peer);
    if (found !== undefined) return found.space;
  }
  return undefined;
}

function onlyNoSpace(errors: readonly string[]): void {
  const other = errors.filter((code) => code !== 'no-space');
  if (other.length > 0) throw new RunFailure(`guest saw errors: ${other.join(', ')}`);
}

export const fullDisk = scenario(
  'full-disk',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 36, at: gateway });
    const { history } = guest.volume;
    guest.writeForever(WORKLOAD);
    await stage.run({ seconds: 0.5 + stage.random.unit() });

    const first = stage.random.pick(stage.nodes);
    const spaceForFirst = fill(first, stage.random.between(10, 14) * MIB);
    await stage.until('the first is called full', () => levelOf(stage, first) === 'full', {
      seconds: 30,
    });
    const answered = history.acknowledgedWrites;
    await stage.until(
      'writes go on without the full one',
      () => history.acknowledgedWrites > answered + 100,
      { seconds: 60 },
    );
    if (guest.errors.length > 0) {
      throw new RunFailure(`one full disk of three is no error: ${guest.errors.join(', ')}`);
    }

    const second = stage.anyRunning(first);
    const spaceForSecond = fill(second, stage.random.between(8, 12) * MIB);
    await stage.until('the guest is told', () => guest.errors.length > 0, { seconds: 60 });
    await stage.run({ seconds: 1 + stage.random.unit() * 5 });
    guest.freeze();
    // Many at once into an object that nobody wrote: each needs space, and each must be answered.
    for (let i = 0; i < BURST; i += 1) guest.startWrite(WORKLOAD.workingSet + i * 16);
    await stage.until('no write waits for ever', () => guest.writesInFlight === 0, { seconds: 20 });
    onlyNoSpace(guest.errors);
    const victim = stage.random.pick([first, second]);
    if (victim !== gateway && stage.random.chance(0.5)) {
      victim.kill();
      await stage.run({ seconds: stage.random.unit() * 3 });
      await victim.start();
    }

    spaceForFirst();
    spaceForSecond();
    await stage.until('nothing hangs any more', () => guest.inFlight === 0, { seconds: 60 });
    guest.writeForever(WORKLOAD);
    await stage.check.converges({ seconds: 240 });
    await guest.stop();
    onlyNoSpace(guest.errors);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await guest.detach();
    const last = stage.guestOf(guest.volume);
    last.attach(stage.anyRunning(gateway));
    await stage.check.everyAcknowledgedWriteIsReadable(last);
    await stage.check.replicasAreIdentical();
  },
);

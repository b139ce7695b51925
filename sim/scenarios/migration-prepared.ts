// Goal: a hand-over that was announced (3.3), in mode `handover` or `exclusive`. Announced and taken back under a writing
// guest, again and again: that one sees nothing of it, though each time it goes on under another token. Then in earnest:
// only the named node's client stands by, and its first write has the volume at once, beside a source that still reads.

import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { expectHeld, lockAt, tryConnect, untilHeld, untilKnown } from './lock-beside.ts';
import {
  arrives,
  isFencedForGood,
  PREPARED_BLACK_OUT_MS,
  runs,
  sawNothing,
  WORK,
  wasHandedOver,
} from './migrate.ts';

const CANCELS = 3;

async function prepare(stage: Stage, at: SimNode, to: SimNode): Promise<void> {
  const number = stage.numberOf(to);
  const { did } = await stage.ask(at, 'prepare', (handle) =>
    handle.volumes().prepareHandover('disk', number),
  );
  if (did !== 'prepared') throw new RunFailure(`not prepared, but ${did}`);
  const knows = () => stage.running.every((node) => lockAt(node, 'disk').next === number);
  await stage.until('all know the successor', knows, { seconds: 10 });
}

export const migrationPrepared = scenario(
  'migration-prepared',
  { nodes: 3, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    const { random } = stage;
    await stage.form();
    const home = stage.anyRunning();
    const away = stage.anyRunning(home);
    const other = stage.running.find((node) => node !== home && node !== away) ?? home;
    const mode = random.chance(0.3) ? 'writeback' : 'durable';
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: home, mode });
    const isExclusive = random.chance(0.5);
    if (isExclusive) {
      await stage.ask(home, 'alter', (handle) =>
        handle.alterVolume('disk', { attachMode: 'exclusive' }),
      );
    }
    await untilKnown(stage, 'disk');
    await guest.fill(WORK.workingSet);
    await untilHeld(stage, 'disk', home);
    guest.writeForever({ ...WORK, thinkMs: 2 });
    for (let cancels = 0; cancels < CANCELS; cancels += 1) {
      const { token } = lockAt(home, 'disk');
      await prepare(stage, other, away);
      await stage.run({ seconds: random.unit() * 0.3 });
      await stage.inMidWrite(guest);
      const { did } = await stage.ask(other, 'cancel', (handle) =>
        handle.volumes().cancelHandover('disk'),
      );
      if (did !== 'cancelled') throw new RunFailure(`not cancelled, but ${did}`);
      await stage.run({ seconds: 0.5 });
      const lock = lockAt(other, 'disk');
      if (lock.token !== token + 1 || lock.node !== stage.numberOf(home)) {
        throw new RunFailure(`H2: cancelled, and held by n${lock.node} under ${lock.token}`);
      }
    }
    sawNothing('the source, of what was taken back,', guest);

    await prepare(stage, other, away);
    if (isExclusive) {
      expectHeld(
        'a client of a third node',
        tryConnect(stage, other, 'disk'),
        lockAt(other, 'disk'),
      );
    }
    const dest = await arrives(stage, away, guest);
    await guest.stop();
    // It reads on, as a guest does that is about to be stopped; nothing of it is flushed.
    guest.startRead(0);
    await runs(stage, dest, PREPARED_BLACK_OUT_MS);
    wasHandedOver(stage, away);
    sawNothing('the source', guest);
    await isFencedForGood(guest);
    await stage.run({ seconds: 1 });
    await dest.stop();
    sawNothing('the destination', dest);
    await stage.check.everyAcknowledgedWriteIsReadable(dest);
    await stage.check.replicasAreIdentical();
  },
);

// Goal: mode `exclusive` (3.2). One client has the volume: a second one is refused when it connects, on every node, with the
// holder's name; one that had connected before neither reads nor writes. The first goes on unharmed. When its gateway dies,
// the one that is left takes over, and nothing that was acknowledged is lost.

import { scenario } from '../scenario.ts';
import { isCalledDown } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { expectHeld, lockAt, tryConnect, untilHeld, untilKnown } from './lock-beside.ts';

export const lockExclusive = scenario(
  'lock-exclusive',
  { nodes: 3, copies: 3, smokeSeeds: 6 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    await stage.ask(gateway, 'alter', (handle) =>
      handle.alterVolume('disk', { attachMode: 'exclusive' }),
    );
    await untilKnown(stage, 'disk');
    const elsewhere = stage.anyRunning(gateway);
    const early = stage.guestOf(guest.volume);
    early.attach(elsewhere);
    guest.writeForever({ workingSet: 64, depth: 8 });
    await untilHeld(stage, 'disk', gateway);
    await stage.run({ seconds: stage.random.unit() });

    for (const node of stage.running) {
      const answer = tryConnect(stage, node, 'disk');
      expectHeld(`a second connection at ${node.name}`, answer, lockAt(node, 'disk'));
    }
    for (const code of [await early.tryRead(0, 4), await early.tryWrite(0)]) {
      if (code !== 'held') throw new RunFailure(`C-lock: beside an exclusive holder: ${code}`);
    }
    await stage.run({ seconds: 1 });
    if (guest.errors.length > 0) throw new RunFailure(`the first saw ${guest.errors[0]}`);

    await stage.inMidWrite(guest);
    gateway.kill();
    await stage.until('the holder is called down', () => isCalledDown(stage, gateway), {
      seconds: 30,
    });
    await stage.check.lockIsReachable(early, { seconds: 10 });
    await stage.check.everyAcknowledgedWriteIsReadable(early);
    await gateway.start();
    await stage.check.converges({ seconds: 120 });
    await stage.check.replicasAreIdentical();
  },
);

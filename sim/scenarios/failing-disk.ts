// Goal (story 39): a disk that fails under a running node - a sync that fails, a write error, a file system that turned
// read-only - ends that node and nothing else. It says why before it ends: the others have the cause in their maps. The
// guest sees no error; a start on the disk that is still bad fails and harms nothing; repaired, the node comes back in
// sync. The seed picks the victim (the leader, too), the fault and its moment.

import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { breakDisk, FAILURES } from './disk-faults.ts';

/** What the map of another node says of why this one is down; undefined = it is not down there. */
function causeSeen(stage: Stage, observer: SimNode, victim: SimNode): string | undefined {
  const members = stage.views.get(observer.name)?.members.values() ?? [];
  const member = [...members].find(({ peerKey }) => peerKey === victim.host.peer);
  return member?.state === 'down' ? member.failure : undefined;
}

export const failingDisk = scenario('failing-disk', { nodes: 3, copies: 3 }, async (stage) => {
  await stage.form();
  const gateway = stage.anyRunning();
  const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
  guest.writeForever();
  await stage.run({ seconds: 1 + stage.random.unit() });

  const victim = stage.anyRunning(gateway);
  victim.mayFail = true;
  await stage.inMidWrite(guest);
  const repair = breakDisk(victim, stage.random.pick(FAILURES));
  await stage.until('the node ends', () => !victim.isRunning, { seconds: 10 });
  const told = (): boolean =>
    stage.running.every((node) => /^io: /.test(causeSeen(stage, node, victim) ?? ''));
  await stage.until('the others know the cause', told, { seconds: 10 });
  const answered = guest.volume.history.acknowledgedWrites;
  await stage.until(
    'writes go on without it',
    () => guest.volume.history.acknowledgedWrites > answered + 50,
    { seconds: 30 },
  );

  await victim.start().then(
    () => {
      throw new RunFailure('a node started on a disk that fails');
    },
    () => {},
  );
  if (victim.isRunning) victim.kill();
  if (!told()) throw new RunFailure('the cause is forgotten before the node is up again');
  repair();
  await victim.start();
  await stage.check.converges({ seconds: 120 });
  await guest.stop();
  if (causeSeen(stage, gateway, victim) !== undefined) {
    throw new RunFailure('the node is up and still called failed');
  }
  if (guest.errors.length > 0) throw new RunFailure(`guest saw errors: ${guest.errors.join(', ')}`);
  await stage.check.everyAcknowledgedWriteIsReadable(guest);
  await stage.check.replicasAreIdentical();
});

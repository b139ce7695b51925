// Goal: a change of voters whose proposals are given up, though they are on their way, is made once all the same (C2.4,
// C2.5). A voter is gone for good and the leader replaces it; whatever it proposes meanwhile is given up, so it pauses
// and asks again. The number of voters never sinks (checked in every view), and in the end there are three that live.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const PATIENCE_MS = 8000;
const REPLACED_S = 60;

export const votersPause = scenario(
  'voters-pause',
  { nodes: 4, copies: 3, smokeSeeds: 6 },
  async (stage) => {
    await stage.form();
    const votersNow = () => stage.running[0]?.running().handle.view()?.voters ?? [];
    const voters = stage.nodes.filter((one) => votersNow().includes(stage.numberOf(one)));
    await stage.operate(stage.anyRunning(), 'set', (admin) =>
      admin.set('replace-voter-after', `${PATIENCE_MS}ms`),
    );
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: stage.anyRunning() });
    await guest.fill(64);
    await guest.detach();

    const victim = stage.random.pick(voters.filter((one) => one !== stage.leader));
    const number = stage.numberOf(victim);
    victim.losePower();
    const isDown = (): boolean => stage.memberOf(victim)?.state === 'down';
    await stage.until('it is called down', isDown, { seconds: 30 });
    stage.world.rarities = new Map([['proposal-given-up', 1]]);
    let failed = 0;
    const { onNote } = stage.world;
    stage.world.onNote = (record) => {
      onNote(record);
      if (record.text.includes('voters.change') || record.name.includes('voters.change'))
        failed += 1;
    };
    await stage.until('a change was given up', () => failed > 0, { seconds: REPLACED_S });
    if (stage.random.chance(0.5)) await stage.run({ seconds: stage.random.exponential(2) });
    stage.world.rarities = new Map();
    const isReplaced = (): boolean => !votersNow().includes(number) && votersNow().length >= 3;
    await stage.until('it is replaced', isReplaced, { seconds: REPLACED_S });
    await victim.start();
    await stage.check.converges({ seconds: 120 });
    if (votersNow().length < 3) throw new RunFailure(`${votersNow().length} voters`);
    guest.attach(stage.anyRunning());
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  },
);

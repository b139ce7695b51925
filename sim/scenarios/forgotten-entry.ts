// Goal: a voter that lost what it had confirmed elects nobody who never had it (C2.6, A3). A leader commits with one other
// voter while the third is cut off; the other one's log is damaged, the leader is gone. The two that are left must not
// go on without what was decided; with the leader back, everything is there.

import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

/** The beginning of the only batch of a log that was just written anew. */
const DAMAGED_BYTE = 150;

export const forgottenEntry = scenario(
  'forgotten-entry',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    await stage.fillLog(stage.random.between(20, 45));
    await stage.check.converges({ seconds: 30 });
    const leader = stage.leader;
    const [keeper, lacks] = stage.running.filter((node) => node !== leader);
    if (leader === undefined || keeper === undefined || lacks === undefined) {
      throw new RunFailure('three run');
    }
    stage.partition([lacks]);
    await stage.operate(leader, 'set', (admin) => admin.set('out-after', '4242s'));
    await stage.run({ seconds: 0.3 });
    keeper.losePower();
    leader.losePower();
    keeper.disk.rot('map.log', DAMAGED_BYTE);
    stage.viewChecker.forget(keeper.name);
    stage.heal();
    await keeper.start();
    await stage.run({ seconds: 10 });
    if (stage.leader !== undefined) throw new RunFailure('A3: two lead who lack what was decided');
    await leader.start();
    await stage.check.converges({ seconds: 120 });
    const values = stage.running.map((node) =>
      node.running().handle.view()?.settings.get('membership/out-after'),
    );
    if (values.some((value) => value !== values[0])) throw new RunFailure('A4: settings differ');
    await stage.fillLog(3);
  },
);

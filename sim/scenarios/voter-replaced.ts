// Goal: a voter that stays down is replaced by another member, once it has been down for so long (ten minutes unless
// told), and not before; the number of voters never sinks meanwhile (checked in every view); then the cluster bears the
// loss of one more of the first voters.

import { REPLACE_VOTER_AFTER_MS } from '../../src/core/cluster-settings.ts';
import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const DRIFT = 0.06;
const SHORT_MS = 8000;

export const voterReplaced = scenario(
  'voter-replaced',
  { nodes: 4, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const votersNow = () => stage.running[0]?.running().handle.view()?.voters ?? [];
    const isVoter = (node: ReturnType<typeof stage.numberOf>) => votersNow().includes(node);
    const voters = stage.nodes.filter((each) => isVoter(stage.numberOf(each)));
    if (voters.length !== 3) throw new RunFailure(`${voters.length} voters`);
    const isShort = stage.random.chance(0.7);
    const patienceMs = isShort ? SHORT_MS : REPLACE_VOTER_AFTER_MS;
    const any = stage.anyRunning();
    if (isShort) {
      await stage.operate(any, 'set', (admin) => admin.set('replace-voter-after', `${SHORT_MS}ms`));
    }
    const first = stage.random.pick(voters);
    const node = stage.numberOf(first);
    const startedMs = stage.world.nowMs;
    first.losePower();
    const isReplaced = (): boolean => !isVoter(node) && votersNow().length === 3;
    await stage.until('it is replaced', isReplaced, {
      seconds: (patienceMs * (1 + DRIFT)) / 1000 + 30,
    });
    const waitedMs = stage.world.nowMs - startedMs;
    if (waitedMs < patienceMs * (1 - DRIFT)) throw new RunFailure(`replaced after ${waitedMs} ms`);

    const second = stage.random.pick(voters.filter((each) => each !== first));
    second.losePower();
    await stage.until('the second one is down', () => stage.memberOf(second)?.state === 'down', {
      seconds: 30,
    });
    await first.start();
    await second.start();
    await stage.check.converges({ seconds: 120 });
  },
);

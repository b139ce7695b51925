// Goal: a node that was away for seconds copies what changed meanwhile, not the volume (C-move, 4.7), and has all of it.
// The seed picks what else goes wrong: it dies again while it joins, or a survivor is killed and has open again all that
// its journal holds: what is open is compared, so no more is copied even then.

import { checkOutageCopies } from '../checkers/movement.ts';
import { BLOCK_BYTES } from '../guest-block.ts';
import { scenario } from '../scenario.ts';
import { RunFailure } from '../world.ts';

const SIZE_MIB = 32;
const BLOCKS = (SIZE_MIB * 2 ** 20) / BLOCK_BYTES;
/** Few enough that most of the volume stays as it is. */
const LOAD = { workingSet: BLOCKS, depth: 2, thinkMs: 100 };

export const shortOutage = scenario(
  'short-outage',
  { nodes: 3, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    stage.check.watchRecovery();
    const gateway = stage.anyRunning();
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: SIZE_MIB, at: gateway });
    await guest.fill(BLOCKS);
    await stage.run({ seconds: 1 });
    const { history } = guest.volume;
    const began = history.now;
    guest.writeForever(LOAD);
    await stage.run({ seconds: stage.random.unit() });

    const victim = stage.anyRunning(gateway);
    const survivor = stage.running.find((node) => node !== victim && node !== gateway);
    if (stage.random.chance(0.5)) victim.kill();
    else victim.losePower();
    const isDown = (): boolean => stage.memberOf(victim)?.state === 'down';
    await stage.until('it is down', isDown, { seconds: 30 });
    await stage.run({ seconds: 1 + stage.random.unit() * 2 });
    const trouble = stage.random.pick(['none', 'dies again', 'survivor restarts'] as const);
    if (trouble === 'survivor restarts') {
      survivor?.kill();
      await survivor?.start();
      await stage.run({ seconds: 1 });
    }
    await victim.start();
    if (trouble === 'dies again') {
      const id = stage.numberOf(victim);
      const joins = (): boolean => {
        const now = gateway.running().handle.view();
        if (now === undefined) return false;
        return [...now.policies.keys()].some((policy) =>
          [...now.explicitPartitions(policy)].some((p) =>
            now.partition(policy, p).joining.includes(id),
          ),
        );
      };
      if (!(await stage.world.runUntil(joins, 60_000))) throw new RunFailure('it never joins');
      victim.kill();
      await stage.until('it is down again', isDown, { seconds: 30 });
      await stage.run({ seconds: 1 });
      await victim.start();
    }
    await stage.check.converges({ seconds: 120 });
    const changedBlocks = history.changedSince(began);
    const { bytesCopied: bytes } = victim.running().handle.status().catchUp;
    await guest.stop();
    if (guest.errors.length > 0) throw new RunFailure(`guest: ${guest.errors.join(', ')}`);
    const { name } = victim;
    const wrong = checkOutageCopies({ name, bytes, changedBlocks, blockBytes: BLOCK_BYTES });
    if (wrong !== undefined) throw new RunFailure(wrong);
    await stage.check.replicasAreIdentical();
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
  },
);

// The offline tool on simulated disks: two of three voters are lost with their disks, one goes on, and the cluster grows
// again; it refuses while a majority is there; nothing acknowledged by the one that is left is lost.

import '../sim/bans.ts';
import test from 'ava';
import { NOBODY, onDisk } from '../sim/offline-tool.ts';
import { play, scenario } from '../sim/scenario.ts';
import type { SimNode } from '../sim/sim-node.ts';
import { isGivenUp } from '../src/core/cluster-settings.ts';
import { hasCode } from '../src/core/errors.ts';
import type { NodeId } from '../src/core/ids.ts';
import { doneText } from '../src/recover-main.ts';

test('unsafe-recover: one of three goes on when the others are lost with their disks', async (t) => {
  const story = scenario('recover', { nodes: 3, copies: 3 }, async (stage) => {
    stage.viewChecker.mayForceVoters = true;
    await stage.form();
    const [one, two, three] = stage.nodes as [SimNode, SimNode, SimNode];
    const guest = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: one });
    guest.writeForever();
    await stage.run({ seconds: 1 });
    await guest.stop();
    const lost = [two, three].map((node) => stage.numberOf(node));
    two.losePower();
    three.losePower();
    await stage.run({ seconds: 5 });
    t.is(one.running().handle.status().leader, undefined);
    const plan = await stage.ask(one, 'plan', (handle) => handle.admin().recoverPlan());
    t.is(plan.best, stage.numberOf(one));
    t.deepEqual(
      plan.voters.map(({ commit }) => commit === undefined),
      [false, true, true],
    );
    await one.stop();

    const isOneThere = async (addresses: readonly string[]) => addresses[0] === two.host.address;
    const refused = await onDisk(stage, one, isOneThere, async () => {}).catch((e: unknown) => e);
    t.true(hasCode(refused, 'refused'), 'two of three are a majority');
    const given = await onDisk(stage, one, NOBODY, async (recovery) => {
      await recovery.force();
      return recovery.lost;
    });
    t.deepEqual(given, lost);

    await one.start();
    await stage.until('it leads alone', () => one.running().handle.status().role === 'leader', {
      seconds: 30,
    });
    t.deepEqual(one.running().handle.view()?.voters, [1 as NodeId]);
    const areDown = () => [two, three].every((node) => stage.memberOf(node)?.state === 'down');
    await stage.until('the lost ones are down', areDown, { seconds: 60 });
    const areMarked = () => {
      const view = one.running().handle.view();
      return lost.map((node) => view !== undefined && isGivenUp(view, node));
    };
    t.deepEqual(areMarked(), [true, true], 'the map says who was given up');
    for (const node of lost) await stage.operate(one, 'forget', (admin) => admin.forget(node));
    await stage.join(stage.addNode());
    await stage.join(stage.addNode());
    await stage.check.converges({ seconds: 60 });
    t.is(one.running().handle.view()?.voters.length, 3);
    const marks = () => [...(one.running().handle.view()?.settings.keys() ?? [])];
    await stage.until('the marks end', () => !marks().some((key) => key.startsWith('forced/')), {
      seconds: 60,
    });
    guest.attach(one);
    await stage.check.everyAcknowledgedWriteIsReadable(guest);
    await stage.check.replicasAreIdentical();
  });
  const { buildNode } = await import('../src/build-node.ts');
  for (const seed of [1, 2, 3]) {
    t.is((await play(story, { build: buildNode, seed })).failure, undefined, `seed ${seed}`);
  }
});

test('unsafe-recover: a directory of no cluster is left as it was', async (t) => {
  const story = scenario('nothing', { nodes: 1, copies: 1 }, async (stage) => {
    const [one] = stage.nodes as [SimNode];
    const refused = await onDisk(stage, one, NOBODY, async () => {}).catch((e: unknown) => e);
    t.true(hasCode(refused, 'not-formatted'));
    t.is(one.disk.usedBytes, 0);
  });
  const { buildNode } = await import('../src/build-node.ts');
  t.is((await play(story, { build: buildNode, seed: 1 })).failure, undefined);
});

test('unsafe-recover: only what is not there is to be retired', (t) => {
  const [one, two, seven] = [1, 2, 7] as [NodeId, NodeId, NodeId];
  const text = doneText({ node: one, lost: [two], others: [seven] });
  t.regex(text, /dog node forget n2/);
  t.notRegex(text, /forget n7/);
  t.regex(text, /n7 may stay/);
});

// Goal: equal index means equal state (A4, C2.8). One node hears from all others of other hashes than its own, as it would
// if its memory or program were broken: it asks the voters, finds itself alone, says so and ends; the others go on. The
// other way round, the others hear of another hash from one node: they find themselves in the majority and go on. The odd
// one is started again: it believes nothing of its own map, gets it from the others, and takes part again.

import { decodeControl, encodeControl } from '../../src/wire/messages.ts';
import { scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';

const OTHER_HASH = 'f'.repeat(64);

/** What one node hears from others, or others from one node, names other hashes. */
function lieAbout(stage: Stage, name: string, side: 'from' | 'to'): void {
  stage.cable.tamper = (packet) => {
    if (packet.plane !== 'control' || packet[side] !== name) return packet.bytes;
    const said = decodeControl(packet.bytes);
    if (said.kind === 'digest') return encodeControl({ ...said, auditHash: OTHER_HASH });
    if (said.kind !== 'reply' || said.body.type !== 'audit') return packet.bytes;
    return encodeControl({ ...said, body: { type: 'audit', hash: OTHER_HASH } });
  };
}

export const brokenState = scenario(
  'broken-state',
  { nodes: 4, copies: 3, smokeSeeds: 5 },
  async (stage) => {
    stage.traceChecker.expected.add('warn map.audit.differs');
    await stage.form();
    await stage.fillLog(30);
    await stage.run({ seconds: 10 });
    const victim = stage.anyRunning();
    const said = (node: string, what: string, text: string): boolean =>
      stage.world.records.some(
        (record) => record.node === node && record.name === what && record.text.includes(text),
      );

    lieAbout(stage, victim.name, 'from');
    const others = stage.running.filter((node) => node !== victim);
    const areRight = (): boolean =>
      others.some(({ name }) => said(name, 'warn map.audit.judged', 'right'));
    await stage.until('the others find themselves right', areRight, { seconds: 60 });
    if (stage.running.length !== stage.nodes.length) throw new RunFailure('somebody ended');

    lieAbout(stage, victim.name, 'to');
    victim.mayFail = true;
    await stage.until('the odd one ends', () => !victim.isRunning, { seconds: 60 });
    if (!said(victim.name, 'warn map.audit.judged', 'broken')) throw new RunFailure('not for this');
    stage.cable.tamper = ({ bytes }) => bytes;
    await stage.run({ seconds: 10 });
    await stage.fillLog(5);
    if (stage.running.length !== stage.nodes.length - 1) throw new RunFailure('another one ended');

    victim.mayFail = false;
    stage.traceChecker.expected.add('warn map.log.damaged');
    stage.viewChecker.forget(victim.name);
    await victim.start();
    await stage.check.converges({ seconds: 120 });
    const isTold = (what: string): boolean =>
      stage.world.records.some(({ node, name }) => node === victim.name && name === what);
    if (!isTold('map.snapshot.installed')) throw new RunFailure('it believed its own map');
    if (!isTold('raft.unmuted')) throw new RunFailure('it never voted again');
    await stage.fillLog(5);
    await stage.check.converges({ seconds: 30 });
  },
);

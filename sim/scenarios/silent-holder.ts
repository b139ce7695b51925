// Goal: H1. A second guest is started beside a first one, in mode `handover`. As long as that one reads, however long its
// gateway stands still in between, it keeps the volume: what waits in the sockets of a process that wakes up is read after
// its timers have fired. As long as it has not flushed what it wrote it keeps it as well, silent or not. Once it has flushed
// and is silent the second one has it; the first is told by errors, and what it writes lands nowhere: never mixed data.

import type { VolumeSession } from '../../src/datapath/volume-session.ts';
import { BLOCK_BYTES } from '../guest-block.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { connect, lockAt, untilHeld } from './lock-beside.ts';
import { wasSaid } from './migrate.ts';

/** Less than the silence of a stopped guest. */
const READ_EVERY_MS = 100;
/** A process reads its sockets so long after its timers. */
const SOCKETS_LATER_MS = 0.1;
const PAUSES = 4;
/** Longer than the window of the failure detector: two pings lost in one would call the node down, and rightly so. */
const BETWEEN_PAUSES_S = 6;
const SILENT_S = 2;
const BLOCKS = 16;

/** A client that reads by its socket: what it asks while the process stands still is found after the timers. */
class Reader {
  readonly errors: string[] = [];
  #isOver = false;

  start(stage: Stage, node: SimNode, session: VolumeSession): void {
    const { world } = stage;
    const { process } = node.running();
    const target = new Uint8Array(BLOCK_BYTES);
    const read = (): void => {
      if (this.#isOver || session.tryRead(0, BLOCK_BYTES, target, 0)) return;
      session.read(0, BLOCK_BYTES, target, 0, (error) => {
        if (error !== undefined) this.errors.push(error.code);
      });
    };
    const next = (): void => {
      if (this.#isOver || !process.isAlive) return;
      const sleeps = Math.max(0, process.pausedUntilMs - world.nowMs);
      world.schedule(sleeps + SOCKETS_LATER_MS, process, read);
      world.schedule(READ_EVERY_MS, undefined, next);
    };
    next();
  }

  stop(): void {
    this.#isOver = true;
  }
}

export const silentHolder = scenario(
  'silent-holder',
  { nodes: 3, copies: 3, smokeSeeds: 4 },
  async (stage) => {
    const { world, random } = stage;
    await stage.form();
    const home = stage.anyRunning();
    const first = await stage.createVolume({
      name: 'disk',
      sizeMiB: 16,
      at: home,
      mode: 'writeback',
    });
    await first.fill(BLOCKS);
    await untilHeld(stage, 'disk', home);
    const { token } = lockAt(home, 'disk');
    const away = stage.anyRunning(home);
    const second = stage.guestOf(first.volume);
    second.attach(away);
    await stage.run({ seconds: 0.3 });
    let done: boolean | undefined;
    const keeps = (why: string): void => {
      if (done === undefined && lockAt(home, 'disk').token === token) return;
      throw new RunFailure(`C-migrate: ${why} lost its volume`);
    };
    await first.flush();
    await stage.run({ seconds: 0.5 });
    await second.flush();
    await stage.run({ seconds: 0.5 });
    keeps('a silent guest, at a flush of the other,');

    await first.write(0);
    second.startWrite(1, 1, (isOk) => {
      done = isOk;
    });
    const reader = new Reader();
    reader.start(stage, home, connect(stage, home, 'disk'));
    await first.flush();
    for (let pauses = 0; pauses < PAUSES; pauses += 1) {
      await stage.run({ seconds: 0.2 + random.unit() * 0.2 });
      home.running().process.pause(400 + random.unit() * 600);
      await stage.run({ seconds: BETWEEN_PAUSES_S });
      keeps('a guest that reads');
    }
    await first.write(0);
    reader.stop();
    await stage.run({ seconds: SILENT_S });
    keeps('a guest that has not flushed what it wrote');
    const since = world.records.length;
    await first.flush();
    await stage.until('the second one has it', () => done === true, { seconds: 3 });
    if (reader.errors.length > 0) throw new RunFailure(`the first read ${reader.errors[0]}`);

    second.writeForever({ workingSet: BLOCKS, depth: 4 });
    for (let block = 0; block < BLOCKS; block += 1) {
      const code = await first.tryWrite(block);
      if (code !== 'fenced') throw new RunFailure(`C-writer: the first wrote: ${code ?? 'done'}`);
    }
    if (!wasSaid(stage, 'warn second-writer', since)) throw new RunFailure('nobody was told');
    await stage.run({ seconds: 1 });
    await second.stop();
    if (second.errors.length > 0) throw new RunFailure(`the second saw ${second.errors[0]}`);
    await stage.check.everyAcknowledgedWriteIsReadable(second);
    await stage.check.replicasAreIdentical();
  },
);

// Goal: mode `shared-read` (3.2). Clients on every node read at once and see what was written before; whoever tries to write
// is refused, also a client that had connected when the volume could still be written; nothing changes. When the node dies
// that read first, the others read on. While anybody reads, the mode stays.

import { hasCode } from '../../src/core/errors.ts';
import { blockValue } from '../guest-block.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import type { Stage } from '../stage.ts';
import { RunFailure } from '../world.ts';
import { connect, lockAt, readFrom, untilKnown, writeTo } from './lock-beside.ts';

const BLOCKS = 32;

export const lockSharedRead = scenario(
  'lock-shared-read',
  { nodes: 3, copies: 3, smokeSeeds: 6 },
  async (stage) => {
    await stage.form();
    const gateway = stage.anyRunning();
    const writer = await stage.createVolume({ name: 'disk', sizeMiB: 16, at: gateway });
    await writer.fill(BLOCKS);
    await untilKnown(stage, 'disk');
    const former = stage.anyRunning(gateway);
    connect(stage, former, 'disk');
    await writer.detach();
    for (const node of stage.running) await share(stage, node);

    // The one that was there before comes first: nobody else has the lock then, if it writes.
    const order = [former, ...stage.running.filter((node) => node !== former)];
    const readers = order.map((node) => ({ node, session: connect(stage, node, 'disk') }));
    const read = async (): Promise<void> => {
      for (const { node, session } of readers.filter((one) => one.node.isRunning)) {
        const block = stage.random.between(0, BLOCKS - 1);
        const bytes = await readFrom(stage, node, session, block);
        if (bytes instanceof Error) throw new RunFailure(`${node.name} read: ${bytes.message}`);
        const value = blockValue(bytes, 0, { volume: writer.volume.id, block });
        if (value === undefined || value === 0) throw new RunFailure('read what nobody wrote');
        const refusal = await writeTo(stage, node, session, block);
        if (!hasCode(refusal, 'held'))
          throw new RunFailure('C-writer: a shared volume was written');
      }
    };
    for (let round = 0; round < 3; round += 1) await read();
    const number = lockAt(stage.anyRunning(), 'disk').node;
    const first = stage.running.find((node) => stage.numberOf(node) === number);
    const alter = stage.ask(stage.anyRunning(), 'alter', (handle) =>
      handle.alterVolume('disk', { attachMode: 'handover' }),
    );
    const isRefused = await alter.then(
      () => false,
      (error: unknown) => hasCode(error, 'held'),
    );
    if (!isRefused) throw new RunFailure('the mode changed under its readers');
    first?.kill();
    for (let round = 0; round < 3; round += 1) await read();
    await first?.start();
    await stage.check.converges({ seconds: 120 });
    const last = stage.guestOf(writer.volume);
    last.attach(stage.anyRunning());
    await stage.check.everyAcknowledgedWriteIsReadable(last);
    await stage.check.replicasAreIdentical();
  },
);

/** Through each node once: asked again it is the same. A session that still drains is waited for. */
async function share(stage: Stage, node: SimNode): Promise<void> {
  const isDone = (): boolean => {
    const { handle } = node.running();
    return handle.view()?.volumeByName('disk')?.attachMode === 'shared-read';
  };
  await stage.until('nobody holds it', () => lockAt(node, 'disk').state === 'free', {
    seconds: 20,
  });
  await stage.ask(node, 'alter', (handle) =>
    handle.alterVolume('disk', { attachMode: 'shared-read' }),
  );
  if (!isDone()) throw new RunFailure('the mode was not changed');
}

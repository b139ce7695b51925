// `sheep unsafe-recover` on the disk of a simulated host whose daemon is stopped.

import { type ForcedRecovery, openForRecovery } from '../src/unsafe-recover.ts';
import { SimClock } from './sim-clock.ts';
import { SimDiskPort } from './sim-disk-port.ts';
import type { SimNode } from './sim-node.ts';
import { SimProcess } from './sim-process.ts';
import type { Stage } from './stage.ts';

/** No voter listens anywhere. */
export const NOBODY = async () => false;

/** Opens the disk, lets `act` do what a person would, and closes it. Rejects as the tool refuses. */
export async function onDisk<T>(
  stage: Stage,
  node: SimNode,
  isThere: (addresses: readonly string[]) => Promise<boolean>,
  act: (recovery: ForcedRecovery) => Promise<T>,
): Promise<T> {
  const process = new SimProcess(stage.world, `${node.name} tool`);
  const ports = {
    disk: new SimDiskPort(node.disk, process),
    clock: new SimClock(stage.world, process, { offsetMs: 0, rate: 1 }),
    random: stage.random.fork('tool'),
  };
  let done: Promise<T> | undefined;
  stage.world.enter(process, () => {
    done = openForRecovery(ports, isThere).then(async (recovery) => {
      const result = await act(recovery);
      await recovery.close();
      return result;
    });
  });
  try {
    return await stage.world.wait('the tool', done as Promise<T>, { seconds: 30 });
  } finally {
    process.end();
  }
}

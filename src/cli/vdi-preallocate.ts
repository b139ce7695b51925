// `dog vdi preallocate`, and `dog vdi create --preallocate`: a volume that has all of its space on every copy, so that no
// later write of it needs any. Object by object, several on their way; ended and begun again it goes on where it was, for
// what has its space is left alone.

import type { Command } from 'commander';
import { checkName } from '../core/volume.ts';
import { eachObject } from '../streams/volume-copy.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { holdOf, using } from './hold.ts';
import { formatBytes } from './output.ts';
import { progressOn } from './progress.ts';

export function addPreallocate(vdi: Command, io: Io): void {
  vdi
    .command('preallocate <name>')
    .description('give a volume all of its space on every copy: later writes need none')
    .addHelpText(
      'after',
      helpTail('dog vdi preallocate demo', 'dog vdi create demo 10G --preallocate'),
    )
    .action(async (name: string, _options, command: Command) => {
      checkName(name);
      const session = sessionOf(command, io);
      const bytes = await preallocate(session, io, name);
      if (session.format === 'json') {
        const { epoch } = await session.ask(`/v1/volumes/${encodeURIComponent(name)}`);
        const document = {
          schema: 'dog/vdi.preallocate/1',
          epoch,
          data: { name, bytes },
          warnings: [],
        };
        session.out(`${JSON.stringify(document)}\n`);
      } else if (session.format === 'raw') session.out(`${bytes}\n`);
      else session.out(`Volume ${name} has its ${formatBytes(bytes)} on every copy.\n`);
    });
}

/** All of it. The volume is held as by a guest meanwhile. */
export async function preallocate(session: Session, io: Io, name: string): Promise<number> {
  const hold = await holdOf(session.options, io.env, name);
  const { sizeBytes } = hold.volume;
  const progress = progressOn(io, `preallocate ${name}`, session.format !== 'human');
  let done = 0;
  return using(hold, async () => {
    const bytes = await eachObject(sizeBytes, async (extent) => {
      await hold.preallocate(extent);
      done += extent.length;
      progress.at(done, sizeBytes);
    });
    progress.end();
    return bytes;
  });
}

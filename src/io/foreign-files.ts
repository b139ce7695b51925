// A data directory that holds something else is not taken: a node that finds no superblock would be a blank one in the
// midst of a person's files, and somebody who named the wrong directory would not hear of it. Looks, and changes nothing.

import * as fs from 'node:fs';
import * as path from 'node:path';
import { OperatingError } from '../core/errors.ts';

/** What nodes put there (docs/FORMATS.md), what a dev cluster does, and what a new file system has. */
const OURS =
  /^(superblock|identity\.key|map\.|journal|index\.|objects$|incoming$|outages|scrub|sightings|members|reserve$|lock|log|lost\+found$)/;
const SUPERBLOCK = 'superblock';
/** Names in the message; the rest is counted. */
const MAX_NAMED = 5;

/** @throws OperatingError 'usage' where no node was, and files of somebody else are; names some of them */
export function refuseForeignFiles(directory: string): void {
  const names = namesIn(directory);
  if (names.includes(SUPERBLOCK)) return;
  const foreign = names.filter((name) => !OURS.test(name) && !isSocket(directory, name)).sort();
  if (foreign.length === 0) return;
  const more = foreign.length > MAX_NAMED ? ` and ${foreign.length - MAX_NAMED} more` : '';
  const named = foreign.slice(0, MAX_NAMED).join(', ') + more;
  throw new OperatingError('usage', `${directory} holds no node, but other files: ${named}`, {
    remedy: 'give --data an empty directory, or the one of a node; a mount may be missing',
  });
}

/** None where it can not be read: the lock says why, with its cure. */
function namesIn(directory: string): readonly string[] {
  try {
    return fs.readdirSync(directory);
  } catch {
    return [];
  }
}

function isSocket(directory: string, name: string): boolean {
  return fs.lstatSync(path.join(directory, name), { throwIfNoEntry: false })?.isSocket() ?? true;
}

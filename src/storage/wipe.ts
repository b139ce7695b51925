// Makes a data directory blank again, identity key apart. The superblock goes first and durably: a directory without one
// belongs to nobody, and whoever forms a cluster on it wipes the rest before anything else. Under another name it stays
// until the rest is gone: it says that the rest is not a member's that lost its superblock.

import type { Disk } from '../ports/ports.ts';
import {
  INCOMING_FOLDER,
  JOURNAL_PATH,
  OBJECT_FOLDERS,
  SUPERBLOCK_PATH,
  WIPED_SUPERBLOCK_PATH,
} from './layout.ts';
import { MAP_SNAPSHOT_PATH } from './map-snapshot.ts';
import { MEMBER_BOOK_PATH } from './member-book.ts';
import { OUTAGES_NEW_PATH, OUTAGES_PATH } from './outage-file.ts';
import { MAP_LOG_PATH } from './raft-log-format.ts';
import { DAMAGED_LOG_PATH, DAMAGED_SNAPSHOT_PATH, DISTRUSTED_PATH } from './raft-log-open.ts';
import { SIGHTINGS_PATH } from './sightings-file.ts';

const NEW = '.new';
const INDEX_PREFIX = 'index.';

/** Removes what belonged to a cluster; resolves when that is durable. Nothing of it may be open. */
export async function wipeData(disk: Disk): Promise<void> {
  const superblock = disk.open(SUPERBLOCK_PATH, { create: false });
  superblock?.close();
  if (superblock !== undefined) disk.rename(SUPERBLOCK_PATH, WIPED_SUPERBLOCK_PATH);
  await syncFolder(disk, '');
  const files = [MAP_LOG_PATH, MAP_SNAPSHOT_PATH, JOURNAL_PATH];
  for (const name of [SUPERBLOCK_PATH, ...files]) disk.remove(name + NEW);
  const aside = [DAMAGED_LOG_PATH, DAMAGED_SNAPSHOT_PATH, DISTRUSTED_PATH];
  for (const name of [...files, ...aside, SIGHTINGS_PATH, MEMBER_BOOK_PATH]) disk.remove(name);
  for (const name of [OUTAGES_PATH, OUTAGES_NEW_PATH]) disk.remove(name);
  for (const name of disk.list('')) {
    if (name.startsWith(INDEX_PREFIX)) disk.remove(name);
  }
  for (const folder of [...OBJECT_FOLDERS, INCOMING_FOLDER]) {
    for (const name of disk.list(folder)) disk.remove(`${folder}/${name}`);
  }
  await syncFolder(disk, '');
  disk.remove(WIPED_SUPERBLOCK_PATH);
  await syncFolder(disk, '');
}

function syncFolder(disk: Disk, folder: string): Promise<void> {
  return new Promise((resolve, reject) => {
    disk.syncFolder(folder, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

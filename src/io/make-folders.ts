// Makes a folder and its parents, one by one from the top. Node's own `recursive` never returns where a parent can not
// be made and yet is not refused as missing (under /proc, or in a folder that was removed).

import * as fs from 'node:fs';
import * as path from 'node:path';

/** Throws what the system says of the first one that can not be made. No error for a folder that is there. */
export function makeFolders(folder: string, mode: number): void {
  const missing: string[] = [];
  let at = path.resolve(folder);
  while (!fs.existsSync(at) && path.dirname(at) !== at) {
    missing.push(at);
    at = path.dirname(at);
  }
  for (const one of missing.reverse()) makeOne(one, mode);
  // A file in its place is an error here, not at the first use.
  if (missing.length === 0 && !fs.statSync(at).isDirectory()) fs.mkdirSync(at);
}

/** Somebody else may make it at the same time. */
function makeOne(folder: string, mode: number): void {
  try {
    fs.mkdirSync(folder, { mode });
  } catch (error) {
    const isThere = (error as { code?: string }).code === 'EEXIST';
    if (!isThere || !fs.statSync(folder).isDirectory()) throw error;
  }
}

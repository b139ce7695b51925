// Versions of objects: ver(o) = (token, n). n rises by 1 with each write and never restarts; equal versions mean equal
// histories (V1), and "shorter" means "prefix" on one chain. A replica applies a write only onto its predecessor (R1).

import { OperatingError } from './errors.ts';
import { NO_VERSION, type Version } from './ids.ts';

/** What a replica does with a write. `gap`: misses what came before; `diverged`: is on another branch. */
export type WriteVerdict = 'apply' | 'duplicate' | 'gap' | 'diverged';

/** True for the same place in the same history (V1). */
export function isSameVersion(a: Version, b: Version): boolean {
  return a.token === b.token && a.count === b.count;
}

/** Order on one chain: negative when `a` is shorter. Counts decide; tokens only break what V1 excludes. */
export function compareVersions(a: Version, b: Version): number {
  return a.count - b.count || a.token - b.token;
}

/**
 * R1. `next` is a duplicate when it is already in this replica's chain: same token, own count at or above it. The
 * caller answers gap and diverged with its own version and changes nothing.
 */
export function judgeWrite(own: Version, prev: Version, next: Version): WriteVerdict {
  if (next.count !== prev.count + 1 || next.token < prev.token) return 'diverged';
  if (isSameVersion(own, prev)) return 'apply';
  if (own.token === next.token && own.count >= next.count) return 'duplicate';
  return own.count < prev.count && own.token <= prev.token ? 'gap' : 'diverged';
}

/** True when `a` may be a prefix of `b` (or equal): necessary for members of one in-sync set (I2). */
export function isPrefix(a: Version, b: Version): boolean {
  return isSameVersion(a, b) || (a.count < b.count && a.token <= b.token);
}

/**
 * The longest of the histories that members of I(p) reported for one object (4.5 step 2).
 * @throws OperatingError 'diverged' when they are not prefixes of one history: I2 broke, nothing may be equalised
 */
export function longestPrefix(versions: readonly Version[]): Version {
  let longest = NO_VERSION;
  for (const version of versions) {
    if (compareVersions(version, longest) > 0) longest = version;
  }
  for (const version of versions) {
    if (isPrefix(version, longest)) continue;
    const [a, b] = [textOf(version), textOf(longest)];
    throw new OperatingError('diverged', `copies are on different histories: ${a} and ${b}`);
  }
  return longest;
}

function textOf(version: Version): string {
  return `(${version.token}, ${version.count})`;
}

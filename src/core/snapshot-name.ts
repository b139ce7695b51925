// What a snapshot is called: `name@tag`, the name of its volume and a tag of its own. A name of a volume has no `@`, so the
// two never meet.

import { OperatingError } from './errors.ts';
import { byteLength } from './text-bytes.ts';
import { checkName, nameProblem } from './volume.ts';

/** Longest tag in bytes (UTF-8). */
export const MAX_TAG_BYTES = 128;
/** Volumes of one snapshot at one instant (S4). */
export const MAX_SNAPSHOT_VOLUMES = 64;

const TAG_REMEDY = 'Use 1 to 128 bytes of printable characters, without space and without @ : / \\';

/** Why this is no tag; undefined when it is one. */
export function tagProblem(tag: string): string | undefined {
  if (tag.length === 0) return 'a tag may not be empty';
  if (byteLength(tag, MAX_TAG_BYTES) > MAX_TAG_BYTES) {
    return `a tag has at most ${MAX_TAG_BYTES} bytes`;
  }
  return nameProblem(tag)?.replace('a volume name', 'a tag');
}

/** @throws OperatingError 'usage', with the cure */
export function checkTag(tag: string): void {
  const problem = tagProblem(tag);
  if (problem !== undefined) throw new OperatingError('usage', problem, { remedy: TAG_REMEDY });
}

/** Of a snapshot: what people write. */
export function snapshotName(name: string, tag: string): string {
  return `${name}@${tag}`;
}

/**
 * The parts of `name` or `name@tag`.
 * @throws OperatingError 'usage' for what is neither
 */
export function parseVolumeName(text: string): { readonly name: string; readonly tag?: string } {
  const at = text.indexOf('@');
  if (at < 0) {
    checkName(text);
    return { name: text };
  }
  const [name, tag] = [text.slice(0, at), text.slice(at + 1)];
  checkName(name);
  checkTag(tag);
  return { name, tag };
}

// LAYERS (op 40): the leader asks a member of which deleted generations it still has rows (S6). The request is a list of
// generations, the reply those of them that are left there.

import type { GenerationId } from '../core/ids.ts';
import { type Codec, decode, encode, list, versioned } from './codec.ts';
import { generation } from './entry-codec.ts';

const LAYERS_VERSION = 1;
/** Generations that one question names at most. */
export const MAX_LAYERS_PER_FRAME = 1024;

const layers: Codec<readonly GenerationId[]> = versioned(
  LAYERS_VERSION,
  list(generation, MAX_LAYERS_PER_FRAME),
);

export const encodeLayers = (value: readonly GenerationId[]): Uint8Array => encode(layers, value);
/** @throws OperatingError 'bad-frame' */
export const decodeLayers = (bytes: Uint8Array): readonly GenerationId[] => decode(layers, bytes);

// What a client may ask about the blocks of a volume (metadata contexts), and how an answer in the volume's own words
// becomes the flags of each context. Pure.

import type { AllocationExtent } from '../datapath/volume-session.ts';

const HOLE = 1;
const ZERO = 2;

export interface MetaContext {
  readonly id: number;
  readonly name: string;
  /** Flags of an extent. */
  readonly flagsOf: (extent: AllocationExtent) => number;
}

/** In the order of their ids. */
export const META_CONTEXTS: readonly MetaContext[] = [
  {
    id: 1,
    name: 'base:allocation',
    flagsOf: ({ isAllocated }) => (isAllocated ? 0 : HOLE | ZERO),
  },
  {
    id: 2,
    // 0: nowhere. 1: in what is exported itself. 2 and more: so many layers down, less one; 1 also where nobody knows.
    name: 'x-sheepdog:allocation-depth',
    flagsOf: ({ isAllocated, depth }) => (isAllocated ? (depth ?? 1) : 0),
  },
];

/** For LIST_META_CONTEXT: all without a query; a name, or a namespace (`base:`), names what there is of it. */
export function listedContexts(queries: readonly string[]): readonly MetaContext[] {
  if (queries.length === 0) return META_CONTEXTS;
  const isAsked = ({ name }: MetaContext, query: string) =>
    query === name || (query.endsWith(':') && name.startsWith(query));
  return META_CONTEXTS.filter((one) => queries.some((query) => isAsked(one, query)));
}

/** For SET_META_CONTEXT: exact names only; what is unknown is left out, as the protocol wants it. */
export function chosenContexts(queries: readonly string[]): readonly MetaContext[] {
  return META_CONTEXTS.filter(({ name }) => queries.includes(name));
}

// Parts of pipelines over async iterables of bytes, for it-pipe: cut a stream into pieces that fit the volume's grid, do
// something with several pieces at once and keep their order. Each holds a bounded number of pieces, whatever the length
// of the stream: who reads slowly holds up who writes. They know nothing of nodes, sockets or files.

/** Bytes and where they belong. */
export interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** A range without its bytes. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** The range as extents that end at multiples of `pieceBytes`. */
export function* extentsOf(offset: number, length: number, pieceBytes: number): Generator<Extent> {
  const end = offset + length;
  for (let at = offset; at < end; ) {
    const next = Math.min(end, at - (at % pieceBytes) + pieceBytes);
    yield { offset: at, length: next - at };
    at = next;
  }
}

/**
 * Cuts a stream into pieces that end at multiples of `pieceBytes`, the first one at `offset`. Each is a buffer of its own.
 */
export function recut(
  offset: number,
  pieceBytes: number,
): (source: AsyncIterable<Uint8Array>) => AsyncGenerator<Piece> {
  return async function* cut(source) {
    let at = offset;
    let piece = new Uint8Array(0);
    let have = 0;
    for await (const chunk of source) {
      let taken = 0;
      while (taken < chunk.length) {
        if (have === 0) piece = new Uint8Array(pieceBytes - (at % pieceBytes));
        const count = Math.min(chunk.length - taken, piece.length - have);
        piece.set(chunk.subarray(taken, taken + count), have);
        taken += count;
        have += count;
        if (have < piece.length) continue;
        yield { offset: at, bytes: piece };
        at += have;
        have = 0;
      }
    }
    if (have > 0) yield { offset: at, bytes: piece.subarray(0, have) };
  };
}

/**
 * Does `work` with up to `width` items at once; results come in the order of the items. The first failure ends it, once
 * what was begun has ended.
 */
export function inOrder<A, B>(
  width: number,
  work: (item: A) => Promise<B>,
): (source: AsyncIterable<A> | Iterable<A>) => AsyncGenerator<B> {
  return async function* ordered(source) {
    const begun: Promise<B>[] = [];
    try {
      for await (const item of source) {
        const one = work(item);
        // Looked at in its turn; until then a failure is nobody's surprise.
        one.catch(() => undefined);
        begun.push(one);
        if (begun.length >= width) yield await (begun.shift() as Promise<B>);
      }
      while (begun.length > 0) yield await (begun.shift() as Promise<B>);
    } finally {
      await Promise.allSettled(begun);
    }
  };
}

/** Takes all of a stream; gives the sum of what `size` says of each item. */
export function totalOf<A>(
  size: (item: A) => number,
): (source: AsyncIterable<A>) => Promise<number> {
  return async (source) => {
    let total = 0;
    for await (const item of source) total += size(item);
    return total;
  };
}

/** Passes a stream on up to so many bytes; calls `onMore` once where there are more, and ends. */
export function atMost(
  most: number,
  onMore: () => void,
): (source: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array> {
  return async function* bounded(source) {
    let left = most;
    for await (const chunk of source) {
      if (chunk.length > 0 && left > 0) yield chunk.subarray(0, left);
      if (chunk.length > left) return onMore();
      left -= chunk.length;
    }
  };
}

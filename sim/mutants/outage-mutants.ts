// Mutants of the source around outages: what is noted, kept, compared and copied, what the ring moves, what was deleted.
// source-mutants.ts lists them; each names the story that must catch it.

export const OUTAGE_MUTANTS = [
  {
    name: 'trims-not-noted',
    breaks: '4.7: every change of bytes counts, by whatever op',
    story: 'short-outage',
    file: 'src/datapath/peer-service.ts',
    from: '    this.#parts.dirty.note(at.partition, frame, regionsOf(frame.offset, frame.count));',
    to: '    if (frame.op !== OP.ZERO) this.#parts.dirty.note(at.partition, frame, regionsOf(frame.offset, frame.count));',
  },
  {
    name: 'outages-from-the-file-alone',
    breaks: '4.7: what the journal has since the last checkpoint counts after a restart',
    story: 'short-outage',
    file: 'src/storage/store-replay.ts',
    from: '      this.#parts.outages.replayed(record);',
    to: '',
  },
  {
    name: 'whole-objects-after-an-outage',
    breaks: 'C-move: an outage costs what changed meanwhile',
    story: 'restless-ring',
    file: 'src/datapath/differences.ts',
    from: "if (own?.kind !== 'data' || row.kind !== 'data' || row.verCount === 0) return false;",
    to: "if (own?.kind !== 'data' || row.kind !== 'zero' || row.verCount === 0) return false;",
  },
  {
    name: 'open-is-copied',
    breaks:
      'C-move, 4.7: a note or an open write says where to look, what is equal does not travel',
    story: 'short-outage',
    file: 'src/datapath/differences.ts',
    from: 'if (bytes === 0) {',
    to: 'if (bytes >= 0) {',
  },
  {
    name: 'comparing-is-guessing',
    breaks: '4.7: who does not know what changed compares, and never guesses',
    story: 'restless-ring',
    file: 'src/datapath/region-hashes.ts',
    from: 'if (isEqual(own, other, region * REGION_HASH_BYTES)) continue;',
    to: 'if (region > 31 || isEqual(own, other, region * REGION_HASH_BYTES)) continue;',
  },
  {
    name: 'ring-counts-its-members',
    breaks: 'C-ring: a member that joins or leaves moves only its own share',
    story: 'restless-ring',
    file: 'src/core/ring.ts',
    from: 'hash48(owner.node, k, POINT_SALT)',
    to: 'hash48(owner.node, k + owners.length * 1000, POINT_SALT)',
  },
  {
    name: 'promoted-empty',
    breaks: 'I1, C-move: nobody counts before it has what the others have as closed',
    story: 'restless-ring',
    file: 'src/datapath/drain-run.ts',
    from: 'return work.filter((row) => view.volumeOfGeneration(row.generation) !== undefined);',
    to: 'return work.filter((row) => view.volumeOfGeneration(row.generation) === undefined);',
  },
  {
    name: 'deleted-rows-stay',
    breaks: 'C-gc, S5: what is left of a deleted volume goes, also on a node that was away',
    story: 'deleted-stays-deleted',
    file: 'src/datapath/surplus.ts',
    from: 'generation <= view.lastGeneration && view.volumeOfGeneration(generation) === undefined',
    to: 'generation <= view.lastGeneration && view.volumeOfGeneration(generation) === null',
  },
] as const;

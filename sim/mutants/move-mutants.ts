// Mutants of the source around volumes that move to another number of copies (S8): what goes to both, what is copied, what
// is durable. source-mutants.ts lists them; each names the story that must catch it. The range lock under a piece, and the
// wait for what went to the head alone, guard windows of microseconds here: test/datapath/move.test.ts and random.test.ts
// judge them.

export const MOVE_MUTANTS = [
  {
    name: 'moves-without-zeroes',
    breaks: 'S8: every change goes to both, by whatever op',
    story: 'volume-moves',
    file: 'src/datapath/volume-mover.ts',
    from: '      path.slices.zeroSectors(index, { offset, count }, isForced, end);',
    to: '      end(undefined);',
  },
  {
    name: 'moves-before-all-is-there',
    breaks: 'S8: the copy becomes the head when all of it is there',
    story: 'volume-moves',
    file: 'src/datapath/volume-copier.ts',
    from: '      if (this.#lanes === 0) this.#hooks.onDone();',
    to: '      if (this.#lanes === COPY_LANES - 1) this.#hooks.onDone();',
  },
  {
    name: 'moves-unflushed',
    breaks: 'S8, R5: what a flush covered is durable in what becomes the head',
    story: 'volume-moves-writeback',
    file: 'src/datapath/volume-mover.ts',
    from: '    if (flusher === undefined) {',
    to: '    if (flusher !== null) {',
  },
] as const;

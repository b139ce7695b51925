// Mutants of the source around volumes that move to another number of copies (S8): what goes to both, what is waited for,
// what is copied. source-mutants.ts lists them; each names the story that must catch it.

export const MOVE_MUTANTS = [
  {
    name: 'moves-without-zeroes',
    breaks: 'S8: every change goes to both, by whatever op',
    story: 'volume-moves',
    seeds: 8,
    file: 'src/datapath/volume-mover.ts',
    from: '      path.slices.zeroSectors(index, { offset, count }, isForced, end);',
    to: '      end(undefined);',
  },
  {
    name: 'copies-beside-writers',
    breaks: 'S8: a region is copied under the range lock',
    story: 'volume-moves',
    seeds: 8,
    file: 'src/datapath/volume-copier.ts',
    from: '      { ...range, isExclusive: false },',
    to: '      { ...range, count: 0, isExclusive: false },',
  },
  {
    name: 'counts-before-it-is-quiet',
    breaks: 'S8: what went to the head alone is waited for before it is counted',
    story: 'volume-moves',
    seeds: 8,
    file: 'src/datapath/volume-copier.ts',
    from: '    const busy = this.#from.pipes.busy();',
    to: '    const busy = this.#from.pipes.busy().slice(0, 0);',
  },
  {
    name: 'moves-unflushed',
    breaks: 'S8, R5: what a flush covered is durable in what becomes the head',
    story: 'volume-moves-writeback',
    seeds: 8,
    file: 'src/datapath/volume-mover.ts',
    from: '    if (flusher === undefined) {',
    to: '    if (flusher !== null) {',
  },
] as const;

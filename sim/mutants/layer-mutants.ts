// Mutants of the source around generations: what is copied on write, what a replay does again, and what is dropped of
// deleted layers. source-mutants.ts lists them; each names the story that must catch it.

export const LAYER_MUTANTS = [
  {
    name: 'copies-the-wrong-region',
    breaks: 'S2: the region that is written to is copied from the layer that shows there',
    story: 'snapshots',
    file: 'src/storage/apply.ts',
    from: 'const copied = readRegion(this.#cache, found[i], state, { offset, limit });',
    to: 'const copied = { ...readRegion(this.#cache, found[i], state, { offset: offset === 0 ? 65536 : 0, limit }), offset };',
  },
  {
    name: 'owned-before-it-is-copied',
    breaks: 'S2, R4: a replay copies again what a row owns',
    story: 'snapshots',
    file: 'src/storage/store-replay.ts',
    from: 'applier.copy(state, record, undefined, isSpared);',
    to: 'applier.copy(state, { ...record, stagedId: new Uint8Array(8) }, undefined, isSpared);',
  },
  {
    name: 'reclaimed-too-early',
    breaks: 'S6: a row of a deleted layer goes when it shows nowhere any more',
    story: 'snapshots',
    file: 'src/core/reclaim.ts',
    from: 'if (readers.length === 0) return true;',
    to: 'if (readers.length < 9) return true;',
  },
  {
    name: 'layers-stay-known',
    breaks: 'S6, C-gc: the record of a layer goes when no member has a row of it',
    story: 'snapshots',
    file: 'src/recovery-duties.ts',
    from: 'const isAskDue = hasDeleted(view)',
    to: 'const isAskDue = self < 0',
  },
  {
    name: 'forgets-what-is-left',
    breaks: 'S6: the record of a layer stays while any member has a row of it',
    story: 'snapshots',
    file: 'src/datapath/layers-left.ts',
    from: 'asked.filter((one) => parts.store.hasRows(one))',
    to: 'asked.slice(0, parts.self < 0 ? 1 : 0)',
  },
  {
    name: 'goes-on-unasked',
    breaks: 'S4: who goes on without the snapshot makes its late entry void first',
    story: 'group-snapshots',
    file: 'src/datapath/freeze-desk.ts',
    from: "this.#parts.propose?.({ type: 'holdEnd', volume: volume.id, token });\n    this.#wait(FREEZE_AGAIN_MS);",
    to: 'this.#reopen();',
  },
  {
    name: 'called-down-is-dead',
    breaks:
      'S4: a holder that is called down may live, and acknowledge what is in a later snapshot',
    story: 'group-snapshots',
    file: 'src/datapath/hold-volume.ts',
    from: 'if (isUp(view, lock.node)) done(undefined, held);',
    to: 'if (view.index > 0) done(undefined, held);',
  },
] as const;

// Mutants of the source about who may attach a volume beside its holder, and about locks that an operator breaks.
// source-mutants.ts lists them; each names the story that must catch it.

export const LOCK_MUTANTS = [
  {
    name: 'exclusive-lets-in',
    breaks: '3.2: beside the holder of an exclusive volume nobody connects',
    story: 'lock-exclusive',
    file: 'src/datapath/attach-rules.ts',
    from: 'if (isElsewhere) return heldError(volume, lock);',
    to: 'if (isElsewhere) return undefined;',
  },
  {
    name: 'exclusive-is-read',
    breaks: '3.2: there is no standby beside the holder of an exclusive volume',
    story: 'lock-exclusive',
    file: 'src/datapath/lock-wait.ts',
    from: "!== 'exclusive') {",
    to: "!== 'shared-read') {",
    also: [
      {
        file: 'src/datapath/lock-wait.ts',
        from: 'if (isBeside && isCurrent) finish(this.#heldElsewhere());',
        to: 'if (isBeside && isCurrent) go();',
      },
    ],
  },
  {
    name: 'shared-is-written',
    breaks: '3.2: nobody writes a volume that is shared for reading, whoever was there before',
    story: 'lock-shared-read',
    file: 'src/datapath/attach-rules.ts',
    from: 'return view.volumes.get(volume.id)?.attachMode ?? volume.attachMode;',
    to: 'return view.index >= 0 ? volume.attachMode : volume.attachMode;',
  },
  {
    name: 'mode-changes-under-readers',
    breaks: '3.2: the attach mode stays while anybody holds the volume',
    story: 'lock-shared-read',
    file: 'src/core/lock.ts',
    from: "if (lock.state === 'held' && !isHolderDead) return heldAnswer(lock);",
    to: "if (lock.state === 'held' && isHolderDead) return heldAnswer(lock);",
  },
  {
    name: 'unlocked-is-still-held',
    breaks: 'C-lock: what an operator unlocked is to be had at once',
    story: 'lock-unlock',
    file: 'src/core/lock.ts',
    from: 'return { ...lock, token, incarnation: NO_LIFE, next: NOBODY };',
    to: 'return { ...lock, token };',
  },
  {
    name: 'the-living-are-overtaken',
    breaks: '3.1: a holder that lives is not taken over from',
    story: 'lock-busy',
    file: 'src/core/lock.ts',
    from: "return isHolderDead(view, lock) ? 'dead' : 'live';",
    to: "return isHolderDead(view, lock) ? 'dead' : 'dead';",
    also: [
      {
        file: 'src/core/lock.ts',
        from: 'return context.isHolderDead || context.force ? undefined : heldAnswer(lock);',
        to: 'return undefined;',
      },
    ],
  },
] as const;

// Mutants of the source about single copies: from whom one may be repaired, which one may answer (rules with several guards,
// so each of these mutants breaks all of them), when one is durable, and what a scrub has looked at.

export const COPY_MUTANTS = [
  {
    name: 'repairs-from-another-version',
    breaks: '4.10: a copy is repaired from its own version only',
    story: 'repair-behind',
    file: 'src/datapath/peer-source.ts',
    from: 'return isSame ? STATUS.OK : STATUS.CHANGED;',
    to: 'return isSame || row !== undefined ? STATUS.OK : STATUS.CHANGED;',
    also: [
      {
        file: 'src/datapath/fetch-range.ts',
        from: '(reply.status === STATUS.OK && !isSame)',
        to: '(reply.status === STATUS.OK && reply.sums.length === 0 && !isSame)',
      },
    ],
  },
  {
    name: 'doubtful-answers-reads',
    breaks: 'R7, R8: a doubtful member answers no read of a writeback volume',
    story: 'writeback-doubtful-reads',
    file: 'src/core/partition.ts',
    from: "if (durability === 'durable' || config.doubtful.length === 0) return config.inSync;",
    to: "if (durability !== 'durable' || config.doubtful.length === 0) return config.inSync;",
    also: [
      {
        file: 'src/datapath/reconcile.ts',
        from: 'if (cfg === this.#touchedCfg[p]) continue;',
        to: 'if (cfg !== undefined) continue;',
      },
      {
        file: 'src/datapath/peer-service.ts',
        from: 'if (own.count < frame.verCount) {',
        to: 'if (own.count < 0) {',
      },
    ],
  },
  {
    name: 'commits-before-bulk',
    breaks: 'R4, decision 52: a copy is synced after the last of its bytes, past the cache or not',
    story: 'whole-objects-copied',
    file: 'src/storage/staging.ts',
    from: '        left += 1;',
    to: '',
    also: [
      {
        file: 'src/storage/staging.ts',
        from: '          ended();',
        to: '',
      },
    ],
  },
  {
    name: 'copies-unsynced',
    breaks: 'R4: a copy is durable before it is an object',
    story: 'whole-objects-copied',
    file: 'src/storage/staging.ts',
    from: '        file.sync(both);',
    to: '        both(undefined);',
  },
  {
    name: 'cut-short-counts',
    breaks: '4.10: a round of a scrub that was cut short is done again',
    story: 'scrub-paused',
    file: 'src/scrub-duties.ts',
    from: 'if (pace.isStopped() || this.#memo.run?.startedMs !== run?.startedMs) return;',
    to: 'if (this.#memo.run?.startedMs !== run?.startedMs) return;',
  },
] as const;

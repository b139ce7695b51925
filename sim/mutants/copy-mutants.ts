// Mutants of the source about single copies: from whom one may be repaired, and which one may answer. Both rules have
// several guards, so each mutant breaks all of them.

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
] as const;

// Mutants of the source about what hosts do to a node: dates that jump, syncs that fail. source-mutants.ts lists them; each
// names the story that must catch it.

export const STORY_MUTANTS = [
  {
    name: 'dates-decide',
    breaks: '1.4: how long a member is away is measured by a monotonic clock, never by dates',
    story: 'clock-jump',
    seeds: 8,
    file: 'src/duties.ts',
    from: 'const moment = { now: clock.now(), dateMs: clock.date() };',
    to: 'const moment = { now: clock.date(), dateMs: clock.date() };',
  },
  {
    name: 'failed-sync-forgiven',
    breaks: 'R4, 1.4: a sync that failed is never taken for done, nor asked for again',
    story: 'lost-sync',
    seeds: 3,
    file: 'src/storage/journal.ts',
    from: 'this.#file.sync((error) => this.#synced(stretch, error));',
    to: 'this.#file.sync(() => this.#synced(stretch, undefined));',
    also: [
      {
        file: 'src/storage/raft-log.ts',
        from: 'if (error !== undefined) this.#die(error);',
        to: 'if (error === null) this.#die(error);',
      },
    ],
  },
] as const;

// Mutants of the source about what befalls a node: dates that jump, syncs that fail, guests that leave too early, actors
// that throw. source-mutants.ts lists them; each names the story that must catch it.

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
  {
    name: 'locks-are-kept',
    breaks: 'C-lock: no lock stays with a live node that nobody is attached to',
    story: 'locks-come-and-go',
    seeds: 6,
    file: 'src/lock-duties.ts',
    from: 'if (!isOurs || this.#sessions.has(lock.session)) continue;',
    to: 'if (this.#sessions.size >= 0 || !isOurs) continue;',
    also: [
      {
        file: 'src/actors/vdi-lock.ts',
        from: "'session.drained': 'releasing',",
        to: "'session.drained': 'released',",
      },
    ],
  },
  {
    name: 'broken-actor-goes-on',
    breaks: 'section 1: an actor that throws ends its node',
    story: 'actor-breaks',
    seeds: 2,
    file: 'src/actors/node.ts',
    from: 'context.onFailed(params.error)',
    to: 'context.warn(String(params.error), params.error)',
  },
] as const;

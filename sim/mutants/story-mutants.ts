// Mutants of the source about what befalls a node: dates that jump, syncs that fail, guests that leave too early, actors
// that throw. source-mutants.ts lists them; each names the story that must catch it.

export const STORY_MUTANTS = [
  {
    name: 'cold-reads-wait',
    breaks: '1.4: a disk that is slow to read does not stop heartbeats',
    story: 'cold-disk',
    file: 'src/core/cold-reads.ts',
    from: 'return nowMs >= this.#coldUntil;',
    to: 'return nowMs >= Number.NEGATIVE_INFINITY;',
  },
  {
    name: 'dates-decide',
    breaks: '1.4: how long a member is away is measured by a monotonic clock, never by dates',
    story: 'clock-jump',
    file: 'src/duties.ts',
    from: 'const moment = { now: clock.now(), dateMs: clock.date() };',
    to: 'const moment = { now: clock.date(), dateMs: clock.date() };',
  },
  {
    name: 'failed-sync-forgiven',
    breaks: 'R4, 1.4: a sync that failed is never taken for done, nor asked for again',
    story: 'lost-sync',
    file: 'src/storage/journal.ts',
    from: 'this.#file.sync((error) => this.#synced(stretch, error));',
    to: 'this.#file.sync(() => this.#synced(stretch, undefined));',
    also: [
      {
        file: 'src/storage/raft-log.ts',
        from: 'if (error !== undefined) this.#die(error);',
        to: 'if (error === null) this.#die(error);',
      },
      {
        file: 'src/build-node.ts',
        from: 'disk.onSyncFailed((error) => this.#fail(error));',
        to: 'disk.onSyncFailed(() => undefined);',
      },
    ],
  },
  {
    name: 'lesser-sync-forgiven',
    breaks: 'R4: also the failed sync of a file that can be made again ends the node',
    story: 'lost-sync',
    file: 'src/build-node.ts',
    from: 'disk.onSyncFailed((error) => this.#fail(error));',
    to: 'disk.onSyncFailed(() => undefined);',
  },
  {
    name: 'read-stays-true',
    breaks: 'I12: who read what nobody is sure of any more is told',
    story: 'reader-dies',
    file: 'src/datapath/read-only-touch.ts',
    from: '(config.unsureAt ?? 0) > grant.cfg',
    to: '!config.inSync.some((node) => isSure(config, node))',
  },
  {
    name: 'rumour-of-no-term',
    breaks: 'section 6: entries that can not show what they follow are not told',
    story: 'recovery-order',
    file: 'src/agreement/map-news.ts',
    from: 'if (prevTerm === undefined) publish({ commit, entries: [], prevTerm: 0 });',
    to: 'if (prevTerm === undefined) publish({ commit, entries: told, prevTerm: 0 });',
  },
  {
    name: 'locks-are-kept',
    breaks: 'C-lock: no lock stays with a live node that nobody is attached to',
    story: 'locks-come-and-go',
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
    file: 'src/actors/node.ts',
    from: 'context.onFailed(params.error)',
    to: 'context.warn(String(params.error), params.error)',
  },
  {
    name: 'unread-is-answered',
    breaks: '4.10: a read that fails is answered from another copy, or not at all',
    story: 'reads-fail',
    file: 'src/datapath/read-replica.ts',
    from: "if (found === 'suspect') return this.#suspect(this.#parts.self, job);",
    to: '',
    also: [
      {
        file: 'src/datapath/read-replica.ts',
        from: "if (outcome === 'suspect') {",
        to: "if (outcome === 'cold') {",
      },
    ],
  },
  {
    name: 'lost-name-is-zeroes',
    breaks: '4.10: a copy whose name a disk forgot is corruption, found at the start at the latest',
    story: 'lost-rename',
    file: 'src/storage/object-store.ts',
    from: "if (state.hasFile && !seen.has(state)) cache.lose(state, 'file is gone');",
    to: 'if (!seen.has(state)) state.hasFile = false;',
  },
  {
    name: 'asks-the-machine',
    breaks: 'determinism: time comes from the ports alone',
    story: 'three-nodes-write',
    file: 'src/agreement/prober.ts',
    from: 'this.#dueAt = clock.now() + PING_EVERY_MS;',
    to: 'this.#dueAt = Date.now() + PING_EVERY_MS;',
  },
] as const;

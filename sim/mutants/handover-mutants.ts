// Mutants of the source about hand-overs (H1, H2, H4, F4). source-mutants.ts lists them; each names the story that must
// catch it.

export const HANDOVER_MUTANTS = [
  {
    name: 'quiet-before-sockets',
    breaks: 'H1: quiet is judged after one more turn of the sockets',
    story: 'silent-holder',
    file: 'src/datapath/handover-desk.ts',
    from: 'else this.#lookTwice(waiting);',
    to: 'else this.#drain(waiting);',
  },
  {
    name: 'flush-not-asked',
    breaks: 'H1 b: only a guest that flushed since the other connected may have stopped',
    story: 'silent-holder',
    file: 'src/core/guest-traffic.ts',
    from: 'if (this.#cleanFlush <= flushesBefore)',
    to: 'if (this.#cleanFlush + 1 <= 0)',
  },
  {
    name: 'silence-not-asked',
    breaks: 'H1 c: a guest that asks for anything has not stopped',
    story: 'silent-holder',
    file: 'src/core/guest-traffic.ts',
    from: 'return waitMs > 0 ? busy(',
    to: 'return waitMs > 1e9 ? busy(',
    also: [
      {
        file: 'src/datapath/handover-desk.ts',
        from: 'else this.#lookTwice(waiting);',
        to: 'else this.#drain(waiting);',
      },
    ],
  },
  {
    name: 'flush-starts-a-handover',
    breaks: '3.2: FLUSH never starts a hand-over',
    story: 'silent-holder',
    file: 'src/datapath/gateway.ts',
    from: 'if (this.#lock.isNobodyWaiting) this.#flushJudged(finish);',
    to: 'if (this.inFlight < 0) this.#flushJudged(finish);',
  },
  {
    name: 'drained-goes-on',
    breaks: 'H4: drained, nothing is executed under the old token',
    story: 'migration-cut',
    file: 'src/datapath/lock-wait.ts',
    from: 'if (this.#isHandingOver()) this.#parked',
    to: 'if (this.#parts.self < 0) this.#parked',
    also: [
      {
        file: 'src/datapath/head-path.ts',
        from: '    this.#path = undefined;\n    this.#mover.sessionLost();\n    path.retire(PATH_RENEWED);\n',
        to: '    if (path !== this.#path) return false;\n',
      },
    ],
  },
  {
    name: 'drained-for-ever',
    breaks: '3.3.6: a drained holder whose successor died goes on, by the log',
    story: 'migration-cut',
    file: 'src/datapath/handover-desk.ts',
    from: "this.#parts.propose?.({ type: 'handoverCancel', volume: volume.id, token });",
    to: "this.#parts.trace.count('handover.forgotten');",
  },
  {
    name: 'cancel-ends-the-session',
    breaks:
      '3.3.6: the holder of a cancelled hand-over goes on under the next token of its session',
    story: 'migration-prepared',
    file: 'src/datapath/open-volume.ts',
    from: 'lock.token === this.#token || mayBeOurs)) return;',
    to: 'lock.token === this.#token)) return;',
  },
  {
    name: 'token-outside-the-log',
    breaks: 'F4, H2: a token counts when the log has granted it',
    story: 'migration',
    file: 'src/lock-duties.ts',
    from: "complete: (token) => this.#claim({ type: 'handoverComplete', ...claim(), token }),",
    to: 'complete: async (token) => open.granted({ ...claim(), token: (token + 1) as FencingToken, grantedAt: 0 as never, tookOver: false }),',
    also: [
      {
        file: 'src/datapath/judge.ts',
        from: 'return token > volume.lock.token ? STATUS.BAD : STATUS.OK;',
        to: 'return STATUS.OK;',
      },
    ],
  },
] as const;

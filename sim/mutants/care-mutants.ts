// Mutants of the source about what people ask of volumes: limits of rates, checks of copies, thick space. source-mutants.ts
// lists them; each names the story that must catch it.

export const CARE_MUTANTS = [
  {
    name: 'limits-stay-at-first',
    breaks: 'limits: a change holds at once, also under a guest',
    story: 'limits',
    file: 'src/datapath/admission.ts',
    from: 'else this.#limit.set(rates);',
    to: 'else this.#rates = rates;',
  },
  {
    name: 'last-come-first-served',
    breaks: 'limits: who waits for a turn has it in order',
    story: 'limits',
    file: 'src/datapath/rate-limit.ts',
    from: 'this.#waiting.push({ bytes, go });',
    to: 'this.#waiting.unshift({ bytes, go });',
  },
  {
    name: 'bytes-pass-free',
    breaks: 'limits: bytes are counted as well as requests',
    story: 'limits',
    file: 'src/datapath/rate-limit.ts',
    from: 'this.#bytes?.take(bytes, now);',
    to: 'this.#bytes?.take(0, now);',
  },
  {
    name: 'fast-reads-pass-limits',
    breaks: 'limits: a read of the own copy asks for its turn, too',
    story: 'limits',
    file: 'src/datapath/gateway.ts',
    from: 'if (this.#admission.isLimited) return false;',
    to: 'if (this.#admission.isLimited && length === 0) return false;',
  },
  {
    name: 'check-trusts-rows',
    breaks: 'check: every byte of every copy is looked at, not its version alone',
    story: 'copies-checked',
    file: 'src/datapath/copy-checker.ts',
    from: "{ depth: 'bytes', heals, objects: [oid] }",
    to: "{ depth: 'rows', heals, objects: [oid] }",
  },
  {
    name: 'dry-run-repairs',
    breaks: 'check -n changes nothing',
    story: 'copies-checked',
    file: 'src/datapath/copy-checker.ts',
    from: 'let seen = await this.#look(of, oid, heals);',
    to: 'let seen = await this.#look(of, oid, true);',
  },
  {
    name: 'check-judges-what-is-open',
    breaks: 'check: copies of what is being written are not called bad',
    story: 'copies-checked',
    file: 'src/core/copy-check.ts',
    from: "if (all.some(([, look]) => look.state === 'busy' || isOpen(look))) return { verdict: 'again' };",
    to: "if (all.some(([, look]) => look.state === 'busy' && isOpen(look))) return { verdict: 'again' };",
  },
  {
    name: 'preallocate-undoes',
    breaks:
      'preallocate: what is written once more is read under the range that it is written under',
    story: 'preallocated',
    file: 'src/datapath/slice-writer.ts',
    from: 'this.#withRange(slice.index, { offset, count }, done, (pipe, finish, early) => {',
    to: 'this.#withRange(slice.index, { offset, count: SECTOR_BYTES }, done, (pipe, finish, early) => {',
  },
  {
    name: 'half-thin-is-thick',
    breaks: 'preallocate: an object is left alone only when each of its sectors has bytes',
    story: 'preallocated',
    file: 'src/datapath/preallocate.ts',
    from: 'if (getSum(sums, at) === 0) isThin = true;',
    to: 'if (getSum(sums, at) === 0) isThin = count < 0;',
  },
] as const;

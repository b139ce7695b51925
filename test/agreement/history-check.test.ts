import test from 'ava';
import { contradictedBy, MAX_HISTORY_ASKED } from '../../src/agreement/history-check.ts';
import { OperatingError } from '../../src/core/errors.ts';
import { FORCED_TERMS, historyKey } from '../../src/core/history.ts';
import type { NodeId } from '../../src/core/ids.ts';
import type { ReplyBody, RequestBody } from '../../src/wire/messages.ts';

const last = { index: 100, term: 5 };
const members = [1, 2, 3] as NodeId[];
const settings: ReadonlyMap<string, string> = new Map();
const entryOf = (index: number, term: number): ReplyBody =>
  ({ type: 'entries', entries: [{ index, term }], commit: index }) as unknown as ReplyBody;
const NOTHING = { type: 'entries', entries: [], commit: 90 } as unknown as ReplyBody;
const silent = () => Promise.reject(new OperatingError('timeout', 'silence'));

/** Node 2 answers so; the others are silent. */
const asking =
  (answer: (body: RequestBody) => ReplyBody) =>
  (node: NodeId, body: RequestBody): Promise<ReplyBody> =>
    node === 2 ? Promise.resolve(answer(body)) : silent();

test('the same entry in the same term is the same history; silence says nothing', async (t) => {
  t.is(
    await contradictedBy({ last, members, settings, ask: asking(() => entryOf(100, 5)) }),
    undefined,
  );
  t.is(await contradictedBy({ last, members, settings, ask: silent }), undefined);
  t.is(
    await contradictedBy({ last: { index: 0, term: 0 }, members, settings, ask: silent }),
    undefined,
  );
});

test('another term at the index of the last committed entry is a later history, or one that was left behind', async (t) => {
  const ask = asking(() => entryOf(100, 1_100_006));
  t.is(await contradictedBy({ last, members, settings, ask }), 2 as NodeId);
  const marks = new Map([[historyKey(1_100_006), '90']]);
  const forced = { index: 100, term: 1_100_006 };
  // Its elections went on, and it heard of the forced terms.
  const older = asking(() => entryOf(100, 1_100_009));
  t.is(await contradictedBy({ last: forced, members, settings: marks, ask: older }), undefined);
  const later = asking(() => entryOf(100, 1_100_006 + FORCED_TERMS));
  t.is(await contradictedBy({ last: forced, members, settings: marks, ask: later }), 2 as NodeId);
});

test('who is behind says nothing, unless it leads and a majority confirms that nothing further was decided', async (t) => {
  const asks = (read: ReplyBody) => asking((body) => (body.type === 'readIndex' ? read : NOTHING));
  const follows = asks({ type: 'notLeader', leader: 1 as NodeId });
  t.is(await contradictedBy({ last, members, settings, ask: follows }), undefined);
  const leads = asks({ type: 'readIndex', index: 99 } as ReplyBody);
  t.is(await contradictedBy({ last, members, settings, ask: leads }), 2 as NodeId);
  const caughtUp = asks({ type: 'readIndex', index: 100 } as ReplyBody);
  t.is(await contradictedBy({ last, members, settings, ask: caughtUp }), undefined);
});

test('few are asked, however many members there are', async (t) => {
  const asked = new Set<NodeId>();
  const many = Array.from({ length: 100 }, (_, at) => (at + 1) as NodeId);
  const ask = (node: NodeId) => {
    asked.add(node);
    return silent();
  };
  await contradictedBy({ last, members: many, settings, ask });
  t.is(asked.size, MAX_HISTORY_ASKED);
});

// A node of a large cluster keeps few control connections: neighbours and those in use.

import test from 'ava';
import type { PeerKey } from '../../src/core/ids.ts';
import { LINK_IDLE_MS, LinkUse, MAX_KEPT_LINKS, neighboursOf } from '../../src/p2p/kept-links.ts';

const keys = (count: number): PeerKey[] =>
  Array.from({ length: count }, (_, i) => `peer-${String(i).padStart(4, '0')}` as PeerKey);

test('kept links: who dials us is whom we wait for, all around the circle', (t) => {
  const peers = keys(300);
  for (const self of [peers[0], peers[150], peers[299]] as PeerKey[]) {
    const { after, before } = neighboursOf(self, peers);
    t.is(after.length, MAX_KEPT_LINKS);
    t.is(before.length, MAX_KEPT_LINKS);
    for (const peer of after) t.true(neighboursOf(peer, peers).before.includes(self));
    for (const peer of before) t.true(neighboursOf(peer, peers).after.includes(self));
  }
});

test('kept links: in a small cluster everybody is a neighbour', (t) => {
  const peers = keys(5);
  t.deepEqual(
    [...neighboursOf(peers[2] as PeerKey, peers).after].sort(),
    [0, 1, 3, 4].map((i) => peers[i]),
  );
});

test('kept links: what is idle goes, what is used or kept stays', (t) => {
  const [used, idle, kept, fresh] = keys(4) as [PeerKey, PeerKey, PeerKey, PeerKey];
  const links = new LinkUse();
  const keep = new Set<string>([kept]);
  for (const peer of [used, idle, kept]) links.note(peer, 0);
  t.deepEqual(links.idle([used, idle, kept], keep, LINK_IDLE_MS - 1), []);
  links.note(used, LINK_IDLE_MS - 1);
  t.deepEqual(links.idle([used, idle, kept, fresh], keep, LINK_IDLE_MS), [idle]);
  t.deepEqual(links.idle([fresh], keep, 2 * LINK_IDLE_MS - 1), []);
  t.deepEqual(links.idle([fresh], keep, 2 * LINK_IDLE_MS), [fresh]);
});

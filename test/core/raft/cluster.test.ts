// Seeded runs of whole Raft clusters under trouble. The harness (cluster.ts) checks A1, A2, A3, A9 and C2.1 at each event.

import test from 'ava';
import { lastIndex } from '../../../src/core/raft/log.ts';
import { clusterOf, isSame, type RaftCluster } from './cluster.ts';

const SEEDS = 40;

/** One bit of trouble, drawn. Most of it passes by itself, so that the cluster goes on and meets the next one. */
function trouble(cluster: RaftCluster): void {
  const ids = [...cluster.nodes.keys()];
  const pick = () => ids[cluster.int(ids.length)] as number;
  const dice = cluster.random();
  const leader = cluster.leader()?.id;
  const victim = leader !== undefined && cluster.random() < 0.4 ? leader : pick();
  if (dice < 0.2) {
    crashForAWhile(cluster, victim);
  } else if (dice < 0.3) {
    storm(cluster);
  } else if (dice < 0.45) {
    cluster.cut(pick(), victim);
    cluster.after(cluster.int(3000), () => cluster.cuts.clear());
  } else if (dice < 0.55) {
    cluster.isolate(victim);
    cluster.after(cluster.int(4000), () => cluster.cuts.clear());
  } else if (dice < 0.7) {
    cluster.gossip(cluster.node(pick()), cluster.node(victim));
  } else if (dice < 0.75) {
    cluster.compact(cluster.node(victim));
  } else if (dice < 0.78) {
    cluster.feed(cluster.node(leader ?? victim), { type: 'handOver' });
  } else if (dice < 0.9) {
    cluster.changeVoters([...new Set([pick(), pick(), pick()])].sort((a, b) => a - b));
  } else {
    cluster.faults.loss = cluster.random() * 0.2;
    cluster.faults.maxDelayMs = cluster.random() < 0.7 ? 10 : 400;
    cluster.faults.maxSyncMs = cluster.random() < 0.5 ? 10 : 300;
  }
}

/** Everybody wants to be elected at about the same time; somebody forgets in the middle of it what it did not sync. */
function storm(cluster: RaftCluster): void {
  for (const node of cluster.nodes.values()) {
    cluster.feed(node, { type: 'electionTimeout' });
    cluster.after(cluster.random() * 3, () => cluster.feed(node, { type: 'electionTimeout' }));
    if (cluster.random() < 0.5) continue;
    cluster.after(cluster.random() * 15, () => {
      cluster.crash(node.id);
      cluster.start(node.id);
      if (cluster.random() < 0.5) cluster.feed(node, { type: 'electionTimeout' });
    });
  }
}

function crashForAWhile(cluster: RaftCluster, victim: number): void {
  const wasLeader = cluster.node(victim).state?.role === 'leader';
  cluster.crash(victim);
  // Often at once: a node that forgot something must not get time to learn it again.
  cluster.after(cluster.random() < 0.6 ? cluster.int(20) : cluster.int(2000), () => {
    if (cluster.node(victim).state === undefined) cluster.start(victim);
  });
  if (!wasLeader || cluster.random() < 0.3) return;
  for (const node of cluster.nodes.values()) {
    cluster.after(cluster.random() * 50, () => {
      cluster.feed(node, { type: 'leaderGone', node: victim as never });
    });
  }
}

function proposeSomewhere(cluster: RaftCluster): void {
  for (const node of cluster.nodes.values()) {
    if (node.state?.role !== 'leader') continue;
    for (let i = cluster.int(3); i >= 0; i -= 1) cluster.propose(node);
    cluster.read(node);
  }
}

function healAndConverge(cluster: RaftCluster): void {
  cluster.heal();
  cluster.startAll();
  const isCommitted = () => {
    const leader = cluster.leader();
    return leader?.state !== undefined && leader.state.commit === lastIndex(leader.state);
  };
  cluster.runUntil('a leader commits', isCommitted, 15_000);
  const before = cluster.committed.length;
  // Again and again: one that gives its lead away takes nothing.
  const hasGrown = () => {
    const leader = cluster.leader();
    if (cluster.committed.length === before && leader !== undefined) cluster.propose(leader);
    return cluster.committed.length > before && isCommitted();
  };
  cluster.runUntil('progress', hasGrown, 5000);
  for (let round = 0; round < 200; round += 1) {
    for (const node of cluster.nodes.values()) cluster.gossip(cluster.leader() as never, node);
    cluster.run(10);
  }
}

for (let seed = 1; seed <= SEEDS; seed += 1) {
  test(`raft: safe under trouble, alive after it (seed ${seed})`, (t) => {
    const cluster = clusterOf(seed, 3 + 2 * (seed % 2));
    cluster.faults = { loss: 0.1, duplication: 0.1, maxDelayMs: 30, maxSyncMs: 20 };
    for (let round = 0; round < 400; round += 1) {
      proposeSomewhere(cluster);
      if (cluster.random() < 0.6) trouble(cluster);
      cluster.run(cluster.int(cluster.random() < 0.5 ? 30 : 600));
    }
    healAndConverge(cluster);
    for (const node of cluster.nodes.values()) {
      t.is(node.state?.commit, cluster.committed.length, `n${node.id} knows all that is committed`);
      const { base, entries } = node.disk;
      const kept = cluster.committed.slice(base.index);
      t.true(kept.every((entry, at) => isSame(entries[at], entry)));
    }
    t.true(cluster.readsDone > 20, 'and answered reads');
    t.true(cluster.committed.length > 20, 'the run committed something');
  });
}

// Method: one voter at a time loses the end of its log and its vote, often in the middle of elections; it votes again
// once it knows an entry that was proposed later.
test('raft: voters whose logs are damaged promise nothing until they have caught up (C2.6)', (t) => {
  let unmuted = 0;
  for (let seed = 400; seed < 440; seed += 1) {
    const cluster = clusterOf(seed, seed % 2 === 0 ? 3 : 5);
    const size = cluster.nodes.size;
    cluster.faults = { loss: 0.1, duplication: 0.1, maxDelayMs: 40, maxSyncMs: 20 };
    for (let round = 0; round < 250; round += 1) {
      proposeSomewhere(cluster);
      const victim = 1 + cluster.int(size);
      const muted = () => [...cluster.nodes.values()].filter(({ disk }) => disk.isMuted);
      if (cluster.random() < 0.4) cluster.feed(cluster.node(victim), { type: 'electionTimeout' });
      if (cluster.random() < 0.1) crashForAWhile(cluster, 1 + cluster.int(size));
      if (muted().length === 0 && cluster.random() < 0.3) {
        cluster.crash(victim);
        cluster.damage(victim);
        cluster.start(victim);
      }
      for (const node of muted()) cluster.gossip(cluster.node(1 + cluster.int(size)), node);
      const before = muted().length;
      cluster.unmuteWhoMay();
      cluster.run(cluster.int(cluster.random() < 0.5 ? 20 : 300));
      unmuted += before - muted().length;
    }
    cluster.heal();
    cluster.startAll();
    cluster.runUntil('a leader', () => cluster.leader() !== undefined, 20_000);
  }
  t.true(unmuted > 300, `${unmuted} came back`);
});

// Method: A leads and commits with B alone; B loses it; A is gone, and C, which never had it, asks B for its vote.
test('raft: a voter that lost what it had confirmed elects nobody who lacks it (C2.6)', (t) => {
  const cluster = clusterOf(450, 3);
  const [a, b, c] = [cluster.leader()?.id ?? 0, 0, 0] as [number, number, number];
  const others = [...cluster.nodes.keys()].filter((id) => id !== a);
  const [second, third] = [others[0] ?? b, others[1] ?? c];
  cluster.isolate(third);
  const before = cluster.committed.length;
  cluster.propose(cluster.node(a));
  cluster.run(300);
  t.is(cluster.committed.length, before + 1);
  cluster.crash(second);
  cluster.damage(second);
  const { disk } = cluster.node(second);
  disk.entries.length = Math.min(disk.entries.length, before);
  disk.commit = Math.min(disk.commit, before);
  cluster.crash(a);
  cluster.heal();
  cluster.start(second);
  cluster.run(10_000);
  t.is(cluster.leader(), undefined, 'nobody leads without the one that knows');
  cluster.start(a);
  cluster.runUntil('a leader', () => cluster.leader() !== undefined, 10_000);
});

// Method: nothing but elections, all at once, and nodes that die between their vote and its sync and are back in 1 ms.
test('raft: one leader per term, whatever voters forget in the middle of elections (A1, C2.1)', (t) => {
  for (let seed = 300; seed < 308; seed += 1) {
    const cluster = clusterOf(seed, 3);
    cluster.faults = { loss: 0.05, duplication: 0.05, maxDelayMs: 4, maxSyncMs: 12 };
    for (let round = 0; round < 500; round += 1) {
      for (const node of cluster.nodes.values()) {
        cluster.feed(node, { type: 'electionTimeout' });
        cluster.after(cluster.random() * 2, () => cluster.feed(node, { type: 'electionTimeout' }));
      }
      const victim = 1 + cluster.int(3);
      cluster.after(3 + cluster.random() * 12, () => {
        cluster.crash(victim);
        cluster.after(1, () => cluster.start(victim));
      });
      cluster.run(40);
    }
    t.true(cluster.elections.length > 20, `seed ${seed}: ${cluster.elections.length} elections`);
  }
});

// Method: one node hears nobody and is heard by nobody for a long time; it wants to be elected all the while.
test('raft: a node that was cut off does not disturb the leader when it returns (C2.2)', (t) => {
  for (let seed = 100; seed < 120; seed += 1) {
    const cluster = clusterOf(seed, 3);
    const leader = cluster.leader();
    const other = [...cluster.nodes.values()].find((node) => node !== leader);
    const { term } = leader?.state ?? {};
    cluster.isolate(other?.id ?? 0);
    cluster.run(20_000);
    cluster.heal();
    cluster.run(5000);
    t.is(cluster.leader(), leader, `seed ${seed}`);
    t.is(leader?.state?.term, term);
    t.is(other?.state?.leader, leader?.id);
  }
});

// Method: the node is not heard, but hears; then the reverse. Neither may cost the cluster its leader for long.
test('raft: one-way cuts of a follower do not depose the leader (C2.2)', (t) => {
  const cluster = clusterOf(7, 3);
  const leader = cluster.leader();
  const other = [...cluster.nodes.values()].find((node) => node !== leader);
  cluster.cut(leader?.id ?? 0, other?.id ?? 0);
  cluster.run(10_000);
  t.is(cluster.leader(), leader);
  cluster.heal();
  cluster.cut(other?.id ?? 0, leader?.id ?? 0);
  cluster.run(10_000);
  t.is(cluster.leader(), leader);
});

test('raft: a leader that nobody answers steps down within two election time-outs (C2.2)', (t) => {
  const cluster = clusterOf(8, 3);
  const old = cluster.leader();
  for (const id of cluster.nodes.keys()) cluster.cut(id, old?.id ?? 0);
  // It still sends heartbeats: without the check the others would follow it for ever, and nothing would commit.
  cluster.run(2000);
  t.not(old?.state?.role, 'leader');
  cluster.runUntil('another leader', () => cluster.leader() !== undefined, 5000);
  t.not(cluster.leader(), old);
});

test('raft: a leader that hands over is followed by another within a few round trips (C2.7)', (t) => {
  for (let seed = 500; seed < 520; seed += 1) {
    const cluster = clusterOf(seed, 3);
    const old = cluster.leader();
    cluster.propose(old as never);
    cluster.feed(old as never, { type: 'handOver' });
    t.is(cluster.propose(old as never)[0]?.type, 'refusedProposals', 'it takes nothing any more');
    const isOther = () => cluster.leader() !== undefined && cluster.leader() !== old;
    t.true(cluster.runUntil('another leader', isOther, 10_000) < 100, `seed ${seed}`);
    t.is(cluster.leader()?.state?.term, old?.state?.term ?? 0);
  }
});

// Method: nobody answers, so nobody takes over.
test('raft: a leader that nobody can follow goes on after its hand-over came to nothing', (t) => {
  const cluster = clusterOf(600, 3);
  const leader = cluster.leader();
  const others = [...cluster.nodes.keys()].filter((id) => id !== leader?.id);
  cluster.cut(leader?.id ?? 0, others[0] ?? 0);
  cluster.cut(leader?.id ?? 0, others[1] ?? 0);
  cluster.propose(leader as never);
  cluster.feed(leader as never, { type: 'handOver' });
  cluster.heal();
  cluster.run(2500);
  t.not(cluster.leader(), undefined);
  const before = cluster.committed.length;
  cluster.propose(cluster.leader() as never);
  cluster.run(200);
  t.true(cluster.committed.length > before);
});

// Method: a follower sleeps while thousands of entries pass, and the others drop them.
test('raft: a follower that needs what was compacted installs a snapshot and goes on', (t) => {
  for (let seed = 700; seed < 710; seed += 1) {
    const cluster = clusterOf(seed, 3);
    const leader = cluster.leader() as never;
    const away = [...cluster.nodes.values()].find((node) => node !== leader) as never as {
      readonly id: number;
    };
    cluster.crash(away.id);
    for (let i = 0; i < 2000; i += 1) {
      cluster.propose(leader);
      if (i % 100 === 0) cluster.run(50);
    }
    cluster.run(500);
    for (const node of cluster.nodes.values()) cluster.compact(node);
    cluster.start(away.id);
    const { disk } = cluster.node(away.id);
    cluster.runUntil('caught up', () => disk.commit === cluster.committed.length, 3000);
    t.true(disk.base.index > 1900 && disk.entries.length < 200);
    cluster.propose(leader);
    cluster.runUntil('goes on', () => disk.commit === cluster.committed.length, 1000);
  }
});

test('raft: a leader whose process is known to be dead is replaced in well under a second', (t) => {
  const times: number[] = [];
  for (let seed = 200; seed < 230; seed += 1) {
    const cluster = clusterOf(seed, 3);
    const old = cluster.leader();
    cluster.run(500 + cluster.int(300));
    cluster.crash(old?.id ?? 0);
    for (const node of cluster.nodes.values()) {
      cluster.feed(node, { type: 'leaderGone', node: old?.id as never });
    }
    times.push(cluster.runUntil('new leader', () => cluster.leader() !== undefined, 10_000));
  }
  times.sort((a, b) => a - b);
  t.true((times[27] ?? Infinity) < 300, `times in ms: ${times.join(' ')}`);
});

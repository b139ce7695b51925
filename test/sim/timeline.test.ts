// The time line as a page: what it says of a run is true, it loads nothing, and a person can move about in it.

import '../../sim/bans.ts';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { LifeLines, type Lines } from '../../sim/life-lines.ts';
import { type Outcome, play, scenario } from '../../sim/scenario.ts';
import { timelinePage } from '../../sim/timeline-page.ts';
import { RunFailure } from '../../sim/world.ts';
import { toolOrSkip } from '../nbd/tools.ts';
import { Browser } from './browser.ts';

const KILLED_MS = 3000;

const short = scenario('short', { nodes: 3, copies: 3 }, async (stage) => {
  await stage.form();
  const victim = stage.node('node-2');
  await stage.world.runUntil(() => false, KILLED_MS - stage.world.nowMs);
  victim.kill();
  await stage.run({ seconds: 20 });
  await victim.start();
  await stage.check.converges({ seconds: 60 });
  stage.node('node-3').running().process.pause(1000);
  await stage.run({ seconds: 2 });
  throw new RunFailure('C-lin: </script><b id="evil">block 7 is wrong');
});

async function watched(): Promise<{ readonly lines: Lines; readonly outcome: Outcome }> {
  const { buildNode: build } = await import('../../src/build-node.ts');
  const plain = await play(short, { build, seed: 4 });
  let watcher: LifeLines | undefined;
  const outcome = await play(short, {
    build,
    seed: 4,
    prepare: (stage) => {
      watcher = new LifeLines(stage);
    },
  });
  if (outcome.hash !== plain.hash) throw new Error('looking at a run changed it');
  return { lines: watcher?.end(outcome) as Lines, outcome };
}

function pageOf({ lines, outcome }: Awaited<ReturnType<typeof watched>>): string {
  const { seed, hash, failure } = outcome;
  return timelinePage({ story: 'short', seed, hash, failure, lines });
}

const run = watched();

test.serial('the lives of nodes: every moment of each, and what it was', async (t) => {
  t.timeout(120_000);
  const { lines } = await run;
  t.deepEqual(
    lines.nodes.map(({ name }) => name),
    ['node-1', 'node-2', 'node-3'],
  );
  for (const { name, pieces } of lines.nodes) {
    t.is(pieces.at(-1)?.toMs, lines.endMs, name);
    pieces.forEach((piece, at) => {
      if (at > 0) t.is(pieces[at - 1]?.toMs, piece.fromMs, `${name} has no gap`);
    });
  }
  const [one, two, three] = lines.nodes.map(({ pieces }) => pieces);
  const down = two?.find(({ phase, fromMs }) => phase === 'stopped' && fromMs > 1000);
  t.true(Math.abs((down?.fromMs ?? 0) - KILLED_MS) < 50);
  t.true((down?.toMs ?? 0) >= KILLED_MS + 20_000);
  t.true(
    two?.some(({ inSync, wanted }) => inSync === 0 && wanted > 0),
    'it left the in-sync sets',
  );
  t.true((two?.at(-1)?.inSync ?? 0) > 0, 'and is back');
  t.true(three?.some(({ phase }) => phase === 'paused'));
  t.true([one, two, three].some((pieces) => pieces?.some(({ role }) => role === 'leader')));
  const told = lines.marks.map(({ node, kind, text }) => `${node} ${kind} ${text}`);
  t.true(told.includes('node-2 fault kill') && told.includes('node-3 fault pause'));
  t.true(told.some((text) => /^stage log .*type=nodesDown/.test(text)));
  t.is(lines.marks.filter(({ kind }) => kind === 'violation').length, 1);
  t.is(
    lines.marks.filter(({ text }) => text === 'kill').length,
    1,
    'the end of a run kills nobody',
  );
});

test.serial('the page loads nothing, and what a run says can not end its script', async (t) => {
  const page = pageOf(await run);
  t.notRegex(page, /https?:|\bsrc=|\bhref=|@import|url\(/);
  t.is(page.match(/<\/script>/g)?.length, 2);
  t.false(page.includes('<b id="evil">'));
});

toolOrSkip('chromium')('a person can read and scroll it in a browser', async (t) => {
  t.timeout(180_000);
  const { lines } = await run;
  const folder = mkdtempSync(path.join(tmpdir(), 'sim-timeline-'));
  const file = path.join(folder, 'run.html');
  writeFileSync(file, pageOf(await run));
  const browser = await Browser.open(pathToFileURL(file).href);
  try {
    t.deepEqual(browser.errors, []);
    t.deepEqual(browser.requests, [pathToFileURL(file).href], 'nothing but itself is loaded');
    t.is(await browser.ask('document.title'), 'short seed 4');
    t.regex(await browser.ask('document.querySelector("#verdict").innerText'), /^FAILED: C-lin/);
    t.is(await browser.ask('document.querySelectorAll(".row.node").length'), 3);
    t.is(await browser.ask('document.querySelector("#evil")'), null as unknown);
    const pieces = lines.nodes.reduce((sum, node) => sum + node.pieces.length, 0);
    t.is(await browser.ask('document.querySelectorAll(".piece").length'), pieces);
    const width = 'document.querySelector("#scroll").scrollWidth';
    const seen = 'document.querySelector("#scroll").clientWidth';
    t.true(
      (await browser.ask<number>(width)) <= (await browser.ask<number>(seen)) + 8,
      'all is seen',
    );
    for (let i = 0; i < 5; i += 1) await browser.click('#in');
    await browser.press('+');
    t.true((await browser.ask<number>(width)) > 4 * (await browser.ask<number>(seen)), 'zoomed');
    await browser.ask('document.querySelector("#find").focus()');
    await browser.send('Input.insertText', { text: 'fault kill' });
    t.regex(await browser.ask('document.querySelector("#shown").innerText'), /^1 of /);
    await browser.click('#after');
    t.is(await browser.ask('location.hash'), `#t=${(KILLED_MS / 1000).toFixed(3)}`);
    t.regex(
      await browser.ask('document.querySelector("#detail").innerText'),
      /node-2: fault: kill/,
    );
    const box = 'document.querySelector(".mark.found").getBoundingClientRect()';
    const left = await browser.ask<number>(`${box}.left`);
    t.true(left > 112 && left < 1200, `the mark is in sight: ${left}`);
    t.true(await browser.ask('document.querySelector("#scroll").scrollLeft > 0'));
  } finally {
    await browser.close();
    rmSync(folder, { recursive: true });
  }
});

// The time line of a run as one HTML file: a row for each node, time to the right, and below the list of what happened.
// Style, script and data are inside; the page loads nothing and works from a mail or a bug report. Its parts are files of
// their own in timeline-page/.

import { readFileSync } from 'node:fs';
import type { Lines } from './life-lines.ts';

export interface PageOf {
  readonly story: string;
  readonly seed: number;
  readonly hash: string;
  /** One line; undefined = the story ended well. */
  readonly failure: string | undefined;
  readonly lines: Lines;
}

function part(name: string): string {
  return readFileSync(new URL(`./timeline-page/${name}`, import.meta.url), 'utf8');
}

/** Text that can not end the script it stands in. */
function dataText(page: PageOf): string {
  return JSON.stringify(page).replaceAll('<', '\\u003c');
}

export function timelinePage(page: PageOf): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>time line</title>
<style>${part('page.css')}</style>
<body>
<header>
  <h1></h1>
  <p id="verdict"></p>
  <p id="replay"></p>
  <div id="tools">
    <button id="out" title="less detail (-)">&minus;</button>
    <button id="in" title="more detail (+)">+</button>
    <button id="fit" title="all of it (0)">all</button>
    <label>find <input id="find" type="search" placeholder="node, fault, entry"></label>
    <button id="before" title="the one before (k)">&uarr;</button>
    <button id="after" title="the next one (j)">&darr;</button>
    <span id="shown"></span>
  </div>
  <p id="legend"></p>
</header>
<main id="scroll" tabindex="0"><div id="chart"></div></main>
<output id="detail">a click on a bar or a mark tells what it is; j and k go from mark to mark, + and - zoom</output>
<section id="list"><table><thead><tr><th>seconds</th><th>where</th><th>kind</th><th>what</th></tr></thead><tbody></tbody></table></section>
<script type="application/json" id="data">${dataText(page)}</script>
<script>${part('page.js')}</script>
</body>
</html>
`;
}

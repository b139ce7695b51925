// Draws the run that stands in #data and lets a person move about in it. Runs in a browser, without anything else.
// A link to a moment: #t=SECONDS.

const page = JSON.parse(document.getElementById('data')?.textContent ?? '');
const { lines, failure } = page;
const at = (id) => document.getElementById(id);
const scroll = at('scroll');
const chart = at('chart');
const MIN_PX = 0.0005;
const MAX_PX = 2;
const STEP = 1.6;
const TICK_PX = 90;
const NAME_PX = 112;
let px = 0.02;
let chosen = -1;
let found = lines.marks.map((_, place) => place);

function make(parent, className, css = {}, text = '') {
  const element = document.createElement('div');
  element.className = className;
  for (const [name, value] of Object.entries(css)) element.style.setProperty(name, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

const seconds = (ms) => (ms / 1000).toFixed(3);

function row(name, className = '') {
  const element = make(chart, `row ${className}`);
  make(element, 'name', {}, name);
  return element;
}

function phaseClass({ phase, role }) {
  if (phase === 'up') return `up ${role}`;
  return ['stopped', 'paused'].includes(phase)
    ? phase
    : phase === 'no power'
      ? 'no-power'
      : 'other';
}

function saidOf(piece) {
  const { fromMs, toMs, phase, role, epoch, inSync, joining, doubtful, wanted } = piece;
  const life = role === '' ? phase : `${phase}, ${role}, epoch ${epoch}`;
  const sets = `in sync in ${inSync} of ${wanted} partitions, joining ${joining}, doubtful ${doubtful}`;
  return `${seconds(fromMs)} to ${seconds(toMs)} s: ${life}; ${sets}`;
}

function syncColour({ inSync, joining, doubtful, wanted }) {
  if (doubtful > 0) return '#e07b39';
  if (joining > 0) return '#4a7bd0';
  if (wanted > 0 && inSync === 0) return '#d7263d';
  if (inSync < wanted) return '#f2c14e';
  return inSync > 0 ? '#2e9e57' : 'transparent';
}

function drawNode({ name, pieces }) {
  const line = row(name, 'node');
  for (const piece of pieces) {
    const place = { '--t': piece.fromMs, '--d': piece.toMs - piece.fromMs };
    const text = piece.role === '' ? piece.phase : `${piece.role[0].toUpperCase()} e${piece.epoch}`;
    const life = make(line, `piece ${phaseClass(piece)}`, place, text);
    const sets = make(line, 'sync', { ...place, background: syncColour(piece) });
    for (const element of [life, sets]) {
      element.title = saidOf(piece);
      element.onclick = () => {
        at('detail').textContent = `${name}, ${saidOf(piece)}`;
      };
    }
  }
  return line;
}

function drawMarks(rows) {
  lines.marks.forEach((mark, place) => {
    const dot = make(rows.get(mark.node) ?? rows.get('stage'), `mark ${mark.kind}`, {
      '--t': mark.atMs,
    });
    dot.title = `${seconds(mark.atMs)} s  ${mark.node}: ${textOf(mark)}`;
    dot.id = `m${place}`;
    dot.onclick = () => choose(place);
  });
}

const textOf = ({ text, count }) => (count > 1 ? `${text} (${count} times)` : text);

function drawList() {
  const body = document.querySelector('tbody');
  lines.marks.forEach((mark, place) => {
    const tr = document.createElement('tr');
    tr.id = `r${place}`;
    const cell = (text) => {
      const td = document.createElement('td');
      td.textContent = text;
      tr.append(td);
      return td;
    };
    cell(seconds(mark.atMs));
    cell(mark.node);
    const dot = document.createElement('i');
    dot.className = `dot ${mark.kind}`;
    cell(mark.kind).prepend(dot);
    cell(textOf(mark));
    tr.onclick = () => choose(place);
    body.append(tr);
  });
}

function drawTicks(axis) {
  for (const old of axis.querySelectorAll('.tick')) old.remove();
  const wanted = TICK_PX / px;
  const size = 10 ** Math.ceil(Math.log10(wanted));
  const step = [size / 5, size / 2, size].find((one) => one >= wanted) ?? size;
  const from = Math.max(0, Math.floor(scroll.scrollLeft / px / step) * step);
  const to = Math.min(lines.endMs, (scroll.scrollLeft + scroll.clientWidth) / px + step);
  for (let ms = from; ms <= to; ms += step) make(axis, 'tick', { '--t': ms }, `${ms / 1000} s`);
}

/** The moment in the middle stays where it is. */
function zoom(to) {
  const half = (scroll.clientWidth - NAME_PX) / 2;
  const middle = (scroll.scrollLeft + half) / px;
  px = Math.min(MAX_PX, Math.max(MIN_PX, to));
  document.documentElement.style.setProperty('--px', px);
  scroll.scrollLeft = middle * px - half;
  drawTicks(axis);
}

function showTime(ms) {
  at('cursor').style.setProperty('--t', ms);
  scroll.scrollLeft = ms * px - (scroll.clientWidth - NAME_PX) / 2;
}

function choose(place) {
  for (const old of document.querySelectorAll('.found')) old.classList.remove('found');
  chosen = place;
  const mark = lines.marks[place];
  at(`m${place}`).classList.add('found');
  at(`r${place}`).classList.add('found');
  at(`r${place}`).scrollIntoView({ block: 'nearest' });
  at('detail').textContent = `${seconds(mark.atMs)} s  ${mark.node}: ${mark.kind}: ${textOf(mark)}`;
  history.replaceState(null, '', `#t=${seconds(mark.atMs)}`);
  showTime(mark.atMs);
}

function step(by) {
  const next =
    by > 0 ? found.find((place) => place > chosen) : found.findLast((place) => place < chosen);
  if (next !== undefined) choose(next);
}

function find(words) {
  const wanted = words.toLowerCase();
  const has = ({ node, kind, text }) => `${node} ${kind} ${text}`.toLowerCase().includes(wanted);
  found = [...lines.marks.keys()].filter((place) => has(lines.marks[place]));
  lines.marks.forEach((_, place) => {
    at(`r${place}`).hidden = true;
  });
  for (const place of found) at(`r${place}`).hidden = false;
  const more = lines.droppedMarks > 0 ? `; ${lines.droppedMarks} more were not kept` : '';
  at('shown').textContent = `${found.length} of ${lines.marks.length} rows${more}`;
}

function legend() {
  const kinds = [
    ['up leader', 'leader'],
    ['up', 'up'],
    ['other', 'starting or catching up'],
    ['paused', 'paused'],
    ['stopped', 'stopped'],
    ['no-power', 'no power'],
    ['fault', 'fault'],
    ['cure', 'cure'],
    ['life', 'start, end'],
    ['role', 'role'],
    ['log', 'log entry'],
    ['warning', 'warning'],
    ['step', 'step of the story'],
  ];
  for (const [className, text] of kinds) {
    const span = document.createElement('span');
    span.className = className;
    span.textContent = text;
    at('legend').append(span);
  }
  at('legend').append(
    'thin bar: green in sync, yellow short of some, blue joining, orange doubtful, red none',
  );
}

document.title = `${page.story} seed ${page.seed}`;
document.querySelector('h1').textContent =
  `${page.story}, seed ${page.seed}: ${seconds(lines.endMs)} simulated seconds`;
at('verdict').textContent = failure === undefined ? 'held' : `FAILED: ${failure}`;
at('verdict').className = failure === undefined ? 'held' : 'failed';
at('replay').textContent =
  `npm run sim -- --seed ${page.seed} --scenario ${page.story}   (hash ${page.hash})`;
document.documentElement.style.setProperty('--end', lines.endMs);
const axis = row('', 'axis');
const rows = new Map([['stage', row('cluster', 'stage')]]);
for (const node of lines.nodes) rows.set(node.name, drawNode(node));
make(chart, '', { '--t': lines.endMs }).id = 'end';
at('end').classList.add(failure === undefined ? 'held' : 'failed');
make(chart, '', { '--t': 0 }).id = 'cursor';
drawMarks(rows);
drawList();
legend();
find('');
const showAll = () => zoom((scroll.clientWidth - NAME_PX - 64) / Math.max(1, lines.endMs));
showAll();

at('in').onclick = () => zoom(px * STEP);
at('out').onclick = () => zoom(px / STEP);
at('fit').onclick = showAll;
at('before').onclick = () => step(-1);
at('after').onclick = () => step(1);
at('find').oninput = () => find(at('find').value);
scroll.onscroll = () => drawTicks(axis);
document.onkeydown = ({ key, target }) => {
  if (target.tagName === 'INPUT') return;
  const act = {
    '+': () => zoom(px * STEP),
    '-': () => zoom(px / STEP),
    0: showAll,
    j: () => step(1),
    k: () => step(-1),
  }[key];
  act?.();
};
function goToHash() {
  const [, text] = /^#t=([\d.]+)$/.exec(location.hash) ?? [];
  if (text !== undefined) showTime(Number(text) * 1000);
}
addEventListener('hashchange', goToHash);
goToHash();

// `dog vdi check`: compares all copies of a volume's objects, a slice at a time, by version and checksum; damage is repaired
// from other copies, with -n only told. It can be ended at any moment and goes on with --from. Memory: the findings.

import type { Command } from 'commander';
import type { AdminAnswer } from '../core/admin-shapes.ts';
import type { CheckData, CheckFindingData } from '../core/copy-shapes.ts';
import { OBJECT_BYTES } from '../core/units.ts';
import { helpTail, type Io, type Session, sessionOf } from './context.ts';
import { EXIT } from './failure.ts';
import { formatBytes, show } from './output.ts';
import { progressOn } from './progress.ts';
import { copiesRoute, indexOf } from './vdi-copies.ts';

/** Indexes of one slice. */
const SLICE_OBJECTS = 256;
/** Findings that are kept for the document; more are counted. */
const MAX_KEPT_FINDINGS = 10_000;

interface CheckOptions {
  readonly dryRun?: boolean;
  readonly from?: number;
}

/** What all slices found. */
interface CheckSums {
  objects: number;
  copies: number;
  bytes: number;
  busy: number;
  unasked: number;
  found: number;
  repaired: number;
  findings: CheckFindingData[];
}

export function addVdiCheck(vdi: Command, io: Io): void {
  vdi
    .command('check <name>')
    .description('compare all copies of a volume or snapshot, every byte; repair what is damaged')
    .option('-n, --dry-run', 'only report')
    .option('--from <place>', 'begin at this object (7) or offset (28M)', indexOf)
    .addHelpText('after', helpTail('dog vdi check demo', 'dog vdi check demo -n --from 20G'))
    .action(async (name: string, options: CheckOptions, command: Command) => {
      const session = sessionOf(command, io);
      const { sums, last } = await checkAll(session, io, name, options);
      const data = { ...last.data, ...sums };
      show(session, { ...last, data }, 'vdi.check', {
        human: () => sumText(name, sums, options.dryRun === true),
        raw: () => '',
      });
      if (sums.found > sums.repaired) io.setExitCode(EXIT.failed);
      else if (sums.busy + sums.unasked > 0) io.setExitCode(EXIT.noState);
    });
}

async function checkAll(
  session: Session,
  io: Io,
  name: string,
  { dryRun = false, from: first = 0 }: CheckOptions,
): Promise<{ readonly sums: CheckSums; readonly last: AdminAnswer<CheckData> }> {
  const progress = progressOn(io, `check ${name}`, session.format !== 'human');
  const counts = { objects: 0, copies: 0, bytes: 0, busy: 0, unasked: 0 };
  const sums: CheckSums = { ...counts, found: 0, repaired: 0, findings: [] };
  for (let from = first; ; ) {
    const body = { from, count: SLICE_OBJECTS, heal: !dryRun };
    const route = copiesRoute(name, 'check');
    const answer = await session.ask<CheckData>(route, { method: 'POST', body });
    const { next, total, isDone, findings, ...slice } = answer.data;
    for (const key of Object.keys(counts) as (keyof typeof counts)[]) sums[key] += slice[key];
    progress.at(next * OBJECT_BYTES, total * OBJECT_BYTES);
    if (findings.length > 0) progress.end();
    for (const finding of findings) {
      sums.found += 1;
      if (finding.isRepaired) sums.repaired += 1;
      if (sums.findings.length < MAX_KEPT_FINDINGS) sums.findings.push(finding);
      if (session.format !== 'json') session.out(findingText(session, finding, dryRun));
    }
    if (isDone || next <= from) {
      progress.end();
      return { sums, last: answer };
    }
    from = next;
  }
}

function findingText({ format }: Session, finding: CheckFindingData, isDryRun: boolean): string {
  const { index, layer, node, problem, badSectors, isRepaired } = finding;
  const end = isRepaired ? 'repaired' : 'not repaired';
  if (format === 'raw') {
    const cells = [index, layer, node, problem, badSectors.join(','), isDryRun ? '' : end];
    return `${cells.join('\t')}\n`;
  }
  const sectors = badSectors.length === 0 ? '' : ` (${badSectors.length} sectors)`;
  const outcome = isDryRun ? '' : `: ${end}`;
  return `object ${index} of ${layer || '(deleted layer)'} on ${node}: ${PROBLEMS[problem]}${sectors}${outcome}\n`;
}

const PROBLEMS = {
  damaged: 'fails its checksums',
  lost: 'file or checksums are gone',
  stale: 'is older than another copy in sync',
  differs: 'differs from another copy though each passes its checksums',
} as const;

function sumText(name: string, sums: CheckSums, isDryRun: boolean): string {
  const { objects, copies, bytes, busy, unasked, found, repaired } = sums;
  const looked = `${copies} copies of ${objects} objects of ${name} were compared, ${formatBytes(bytes)}`;
  const bad =
    found === 0 ? 'all are equal and whole' : `${found} are bad, ${repaired} of them repaired`;
  const told = isDryRun && found > 0 ? `${found} are bad; nothing was changed` : bad;
  const inUse = busy === 0 ? '' : `${busy} objects were in use at every look: check again later.\n`;
  const silent =
    unasked === 0 ? '' : `${unasked} copies could not be looked at: dog cluster health.\n`;
  const cure = found > repaired && !isDryRun ? CURE : '';
  return `${looked}: ${told}.\n${inUse}${silent}${cure}`;
}

const CURE =
  'What is not repaired: dog cluster health names what no copy has; restore or overwrite that range. A copy that is\n' +
  'older, or differs: drain the node whose disk you doubt (dog node drain), and join it anew with an empty directory.\n';

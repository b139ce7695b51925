// `sheep unsafe-recover DIR`: says what may be lost, asks, acts. The rules: unsafe-recover.ts.

import { OperatingError } from './core/errors.ts';
import { lockDataDirectory } from './io/data-lock.ts';
import { openFileDisk } from './io/file-disk.ts';
import { createRealClock } from './io/real-clock.ts';
import { createRealRandom } from './io/real-random.ts';
import { isListening } from './p2p/is-listening.ts';
import { type ForcedRecovery, openForRecovery } from './unsafe-recover.ts';

export const RECOVER_HELP = `sheep unsafe-recover DIR [--yes-i-accept-loss]

  The daemon of DIR is stopped, and a majority of the voters is lost for good. Makes this node the only voter: what the
  lost voters decided beyond this node's log is lost. See 'dog cluster recover force' for the plan first.

  --yes-i-accept-loss  no question; without it the name of the cluster must be typed

exit codes: 0 done, 1 failed or refused, 64 wrong usage
`;

/** Where the words go, and who answers; nobody without a terminal. */
export interface Terminal {
  readonly say: (text: string) => void;
  readonly ask: ((question: string) => Promise<string>) | undefined;
}

/** The terminal, and what is on disk before anything is made there. */
export interface RecoverPlace extends Terminal {
  readonly exists: (file: string) => boolean;
}

/** @throws OperatingError that says why nothing was done */
export async function unsafeRecover(
  args: readonly string[],
  terminal: RecoverPlace,
): Promise<void> {
  const { say } = terminal;
  const flags = args.filter((one) => one.startsWith('-'));
  const [directory, ...rest] = args.filter((one) => !one.startsWith('-'));
  if (flags.includes('--help') || flags.includes('-h')) return say(RECOVER_HELP);
  const unknown = flags.find((one) => one !== '--yes-i-accept-loss');
  if (unknown !== undefined || directory === undefined || rest.length > 0) {
    throw new OperatingError('usage', 'name one data directory', {
      remedy: 'sheep unsafe-recover --help tells the rest',
    });
  }
  // The lock would make it.
  if (!terminal.exists(directory)) {
    throw new OperatingError('missing', `there is no directory ${directory}`, {
      remedy: 'name the data directory of a member that is left',
    });
  }
  const unlock = lockDataDirectory(directory);
  try {
    const clock = createRealClock();
    const ports = { disk: openFileDisk(directory), clock, random: createRealRandom() };
    const recovery = await openForRecovery(ports, async (addresses) => {
      const answers = await Promise.all(addresses.map((one) => isListening(one, clock)));
      return answers.includes(true);
    });
    try {
      say(warningText(recovery));
      if (flags.length === 0) await typeName(terminal, recovery.view.name);
      await recovery.force();
    } finally {
      await recovery.close();
    }
    say(doneText(recovery));
  } finally {
    unlock();
  }
}

function warningText({ node, view, plan, others, bystanders }: ForcedRecovery): string {
  const voters = view.voters.map((voter) => {
    if (voter === node) return `  n${voter}  this directory\n`;
    return `  n${voter}  ${others.includes(voter) ? 'there' : 'NOT THERE'}\n`;
  });
  const names = bystanders.map((one) => `n${one}`).join(', ');
  const ask =
    names === ''
      ? ''
      : `${names} ${bystanders.length === 1 ? 'is' : 'are'} there and did not vote when this log ended. If the voters were replaced\n` +
        'since, the cluster lives: ask there first (dog cluster info).\n\n';
  const losses = plan.mayLose.map((one) => `  - ${one}\n`);
  return (
    `Cluster ${view.name}, node n${node}. Voters (${plan.needed} are needed):\n${voters.join('')}\n${ask}` +
    `This makes n${node} the only voter. IT CAN NOT BE UNDONE. What may be lost:\n${losses.join('')}\n` +
    'A lost voter that ever starts again on its old disk would be of another history:\n' +
    'see to it that it never does.\n\n'
  );
}

/** What is left to do: only who is not there is to be retired. */
export function doneText({
  node,
  lost,
  others,
}: Pick<ForcedRecovery, 'node' | 'lost' | 'others'>): string {
  const there = others.map((other) => `n${other}`).join(', ');
  const rest = there === '' ? '' : `${there} may stay: it takes the map from n${node}.\n`;
  return (
    `n${node} is the only voter now. Next: start it; then retire what is lost for good:\n` +
    lost.map((voter) => `  dog node forget n${voter}\n`).join('') +
    rest
  );
}

async function typeName({ ask }: Terminal, name: string): Promise<void> {
  if (ask === undefined) {
    const message = 'nobody accepted the loss, and there is no terminal to ask on';
    throw new OperatingError('usage', message, { remedy: 'add --yes-i-accept-loss' });
  }
  const typed = await ask(`Type the name of the cluster (${name}) to go on: `);
  if (typed.trim() === name) return;
  throw new OperatingError('refused', 'that is another name: nothing was done');
}

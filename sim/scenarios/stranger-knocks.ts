// Goal: a node of another cluster, a token that was revoked, that has ended, or that another node has used up, opens
// nothing: the knocker is told why, and nobody is called a member by it.

import { hasCode } from '../../src/core/errors.ts';
import { decodeToken, encodeToken } from '../../src/core/token.ts';
import { scenario } from '../scenario.ts';
import type { SimNode } from '../sim-node.ts';
import { RunFailure } from '../world.ts';

export const strangerKnocks = scenario(
  'stranger-knocks',
  { nodes: 2, copies: 1, smokeSeeds: 5 },
  async (stage) => {
    await stage.form();
    const [member] = stage.nodes;
    if (member === undefined) throw new RunFailure('no node');
    const invite = (options = {}) =>
      stage.ask(member, 'invite', (handle) => handle.invite(options));
    const knock = async (node: SimNode, token: string): Promise<unknown> => {
      const place = { zone: 'z9', weight: 1 };
      return stage
        .ask(node, 'knock', (handle) => handle.join(token, place))
        .then(
          () => undefined,
          (error: unknown) => error,
        );
    };
    const refused = (error: unknown, code: Parameters<typeof hasCode>[1], words: RegExp): void => {
      if (hasCode(error, code) && words.test(error.message)) return;
      throw new RunFailure(`not refused as ${code}: ${String(error)}`);
    };

    const loner = stage.addNode();
    await loner.start();
    await stage.ask(loner, 'format', (handle) =>
      handle.format({ name: 'other', copies: 1, partitions: 16 }),
    );
    refused(await knock(loner, await invite()), 'wrong-cluster', /belongs to cluster/);

    const late = stage.addNode();
    await late.start();
    const forged = encodeToken({
      ...decodeToken(await invite()),
      clusterId: '0'.repeat(32) as never,
    });
    refused(await knock(late, forged), 'wrong-cluster', /this is cluster/);
    const short = await invite({ ttlMs: 1000 });
    await stage.run({ seconds: 2 });
    refused(await knock(late, short), 'refused', /has expired/);
    const revoked = await invite();
    const { inviteId } = decodeToken(revoked);
    await stage.operate(member, 'revoke', (admin) => admin.revokeInvite(inviteId));
    refused(await knock(late, revoked), 'refused', /revoked/);
    const single = await invite({ isSingleUse: true });
    if ((await knock(late, single)) !== undefined) throw new RunFailure('a good token was refused');
    const later = stage.addNode();
    await later.start();
    refused(await knock(later, single), 'refused', /used up/);

    loner.kill();
    later.kill();
    await stage.check.converges({ seconds: 60 });
    const size = member.running().handle.view()?.members.size;
    if (size !== 3) throw new RunFailure(`${size} members`);
  },
);

// Replaces methods of the VolumeSessions that a node hands out, for mutants of the gateway's promises.

import type { VolumeSession } from '../../src/datapath/volume-session.ts';
import type { BuildNode, NodeUnderTest } from '../sim-node.ts';

type SessionChanges = (session: VolumeSession) => Partial<VolumeSession>;

function withChanges<T extends object>(target: T, changes: Partial<T>): T {
  return new Proxy(target, {
    get(object, key): unknown {
      if (Object.hasOwn(changes, key)) return (changes as Record<PropertyKey, unknown>)[key];
      const value: unknown = Reflect.get(object, key, object);
      return typeof value === 'function' ? (value.bind(object) as unknown) : value;
    },
  });
}

/** A builder whose nodes' sessions behave differently. */
export function wrapSessions(build: BuildNode, changesOf: SessionChanges): BuildNode {
  return (ports, config): NodeUnderTest => {
    const handle = build(ports, config);
    return withChanges<NodeUnderTest>(handle, {
      openVolume: (name) => {
        const session = handle.openVolume(name);
        return withChanges(session, changesOf(session));
      },
    });
  };
}

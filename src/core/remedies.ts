// What a person may do about a disk that lost something, or is not the one that the cluster knows: true in every cluster,
// also where there is one node, or one copy. Who says it does not know which; a tired operator must not throw the only copy
// away on its word. Texts only.

const OTHERS = 'if the cluster keeps other copies (dog cluster info)';
const REPLACE =
  'move this data directory aside, start sheep --join TOKEN with an empty one, then dog node forget the old node';
const KEEP =
  'if it keeps none (one node, or one copy) this disk is all there is of its data: keep it';

/** Something on it is damaged or missing, and the node can not go on without. */
export const REPLACE_OR_RESTORE = `${OTHERS}: ${REPLACE}; ${KEEP}, and restore what is named from a backup`;

/** The cluster knows another disk of this node, or more of this one. */
export const REPLACE_OR_FIND = `put back the disk that this node had last; or, ${OTHERS}: ${REPLACE}; ${KEEP}`;

/** The same identity in two data directories. */
export const ONE_OF_TWO =
  'keep the data directory that the other process uses, and remove this one; a further host joins with an empty directory: sheep --join TOKEN';

/** An operator retired the identity on it, or the cluster did. */
export const NEW_IDENTITY = `start sheep --join TOKEN with an empty data directory: it joins as a new node. Look first what other copies the cluster keeps (dog cluster info): ${KEEP}`;

/** The log of this disk is not that of the cluster. */
export const OTHER_HISTORY = `if that one is of the cluster that is to live on: dog node forget this node there; ${NEW_IDENTITY}`;
